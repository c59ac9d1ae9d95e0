"""HintSVM: a support vector machine whose boundary is pulled towards unlabeled items.

Source: Li, Ferng & Lin, "Active Learning with Hinted Support Vector Machine", ACML 2012: a random half of the pool
enters as hints with an epsilon-insensitive target of zero; the item with the largest |decision value| is queried.
Settings of Lu, Li & Lin, arXiv 2306.08954: both costs 1, RBF kernel with gamma = 1/d.
Differs from libact: hints are drawn without replacement, their loss is linear beyond epsilon (0.1, as there) and not
squared, and the settings hold for the whole run: libact forgets them after its first query and goes on with a linear
kernel and C = 0.1, so the published figures are those of that machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from poolwise.bench.tabular.registry import State, tabular
from poolwise.bench.tabular.smo import solve_machine
from poolwise.types import IndexArray

COST_LABELED = 1.0
COST_HINT = 1.0
HINT_SHARE = 0.5
EPSILON = 0.1


def hinted_decision(state: State, hints: IndexArray) -> NDArray[np.float64]:
    """Train with the given hints, and return the decision values of all unlabeled items.

    Parameters
    ----------
    hints : (h,) int64 train positions

    Returns
    -------
    (U,) float64, in the order of `state.unlabeled`.
    """
    if "kernel" not in state.memo:
        state.memo["kernel"] = np.exp(-cdist(state.x, state.x, "sqeuclidean") / state.x.shape[1])
    kernel = state.memo["kernel"]
    used = np.concatenate([state.labeled, hints])
    n, h = len(state.labeled), len(hints)
    weights, bias = solve_machine(
        kernel[np.ix_(used, used)],
        rows=np.concatenate([np.arange(n + h), n + np.arange(h)]),  # a hint is held from both sides
        signs=np.concatenate([state.signs, np.ones(h), -np.ones(h)]),
        targets=np.concatenate([np.ones(n), np.full(2 * h, -EPSILON)]),
        caps=np.concatenate([np.full(n, COST_LABELED), np.full(2 * h, COST_HINT)]),
    )
    values: NDArray[np.float64] = kernel[np.ix_(state.unlabeled, used)] @ weights + bias
    return values


@tabular("hintsvm", family="hybrid", paper="Li et al., ACML 2012", column="HintSVM", cost="slow", binary_only=True)
def hintsvm(state: State) -> IndexArray:
    """Take the items with the largest |decision value| of a machine trained with hints."""
    count = int(len(state.unlabeled) * HINT_SHARE)
    hints = np.sort(state.rng.choice(state.unlabeled, size=count, replace=False))
    return state.best(np.abs(hinted_decision(state, hints)))
