"""Density-weighted uncertainty sampling: uncertain items of dense clusters.

Source: Nguyen & Smeulders, "Active Learning Using Pre-clustering", ICML 2004, with the settings of libact: 5 k-means
centres as an isotropic mixture of variance 0.1, weights from 100 steps of expectation-maximisation, and a logistic
model of the centres' labels (C = 1); score min(P, 1 - P) p(x).
Differs from libact: densities are kept as logarithms, so they do not underflow to 0/0 in many dimensions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp
from sklearn.cluster import KMeans

from poolwise.bench.tabular.registry import State, tabular
from poolwise.types import IndexArray

N_CENTRES = 5
VARIANCE = 0.1
EM_STEPS = 100
C_QUERY = 1.0

Floats = NDArray[np.float64]


def mixture(x: Floats, centres: Floats) -> tuple[Floats, Floats]:
    """Weigh the centres by expectation-maximisation.

    Returns
    -------
    log p(x), (n,), and P(centre | x), (n, K), both float64.
    """
    gaps = ((x[:, None, :] - centres) ** 2).sum(axis=2)  # (n, K)
    log_p = -gaps / (2 * VARIANCE) - x.shape[1] / 2 * np.log(2 * np.pi * VARIANCE)
    log_weight = np.full(len(centres), -np.log(len(centres)))
    for _ in range(EM_STEPS):
        joint = log_p + log_weight
        log_weight = logsumexp(joint - logsumexp(joint, axis=1, keepdims=True), axis=0) - np.log(len(x))
    joint = log_p + log_weight
    total = logsumexp(joint, axis=1)
    return total, np.exp(joint - total[:, None])


def centre_labels(centres: Floats, member: Floats, y: Floats) -> Floats:
    """Fit P(class 1 | centre) = sigmoid(a . centre + b) so that the labeled items become likely.

    Parameters
    ----------
    centres : (K, d)
    member : (L, K) P(centre | x) of the labeled items
    y : (L,) 0 or 1

    Returns
    -------
    (K,) float64 probabilities; they minimise |a|^2 / 2 - C sum log P(y | x).
    """
    signs = 2 * y - 1

    def loss(w: Floats) -> tuple[float, Floats]:
        p = expit(centres @ w[:-1] + w[-1])  # (K,)
        likely = np.maximum(np.where(y == 1, member @ p, member @ (1 - p)), 1e-300)  # (L,)
        outer = -C_QUERY * (signs / likely) @ member * p * (1 - p)  # (K,) gradient at the centres' logits
        value = w[:-1] @ w[:-1] / 2 - C_QUERY * np.log(likely).sum()
        return float(value), np.append(outer @ centres + w[:-1], outer.sum())

    best = minimize(loss, np.zeros(centres.shape[1] + 1), jac=True, method="L-BFGS-B")
    return np.asarray(expit(centres @ best.x[:-1] + best.x[-1]), dtype=np.float64)


@tabular("dwus", family="hybrid", paper="Nguyen & Smeulders, ICML 2004", column="DWUS", binary_only=True)
def dwus(state: State) -> IndexArray:
    """Take the items with the largest min(P, 1 - P) times their density in a mixture of five clusters."""
    if "centres" not in state.memo:
        count = min(N_CENTRES, len(np.unique(state.x.round(10), axis=0)))
        seed = int(state.rng.integers(2**31))
        model = KMeans(n_clusters=count, n_init=10, random_state=seed).fit(state.x)
        state.memo["centres"] = np.asarray(model.cluster_centers_, dtype=np.float64)
        state.memo["mixture"] = mixture(state.x, state.memo["centres"])
    log_density, member = state.memo["mixture"]
    p_centre = centre_labels(state.memo["centres"], member[state.labeled], state.y.astype(np.float64))
    here = member[state.unlabeled]
    error = np.minimum(here @ p_centre, here @ (1 - p_centre))
    return state.best(np.log(np.maximum(error, 1e-300)) + log_density[state.unlabeled])
