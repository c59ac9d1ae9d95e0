"""BMDR: discriminative and representative batches by empirical risk minimisation.

Source: Wang & Ye, "Querying Discriminative and Representative Samples for Batch Mode Active Learning", KDD 2013,
with the settings of ALiPy: beta 1000, gamma 0.1, rho 1, RBF kernel with gamma 1, up to 15 rounds.
A kernel model is fitted to the labeled items and, weighted by the relaxed indicator a, to the worst labels of the
unlabeled ones (loss f^2 + 2|f|); a solves min a' (beta/2 K_UU) a / 2 + q . a over 0 <= a <= 1, sum a = B, with
q = beta ((U-B)/n 1' K_LU - (L+B)/n 1' K_UU) + f^2 + 2|f|.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from poolwise.bench.tabular.registry import State, tabular
from poolwise.bench.tabular.simplex import solve_capped
from poolwise.types import IndexArray

KERNEL_GAMMA = 1.0
RIDGE = 0.1
RHO = 1.0
BETA = 1000.0
ROUNDS = 15
ADMM_STEPS = 100

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Problem:
    """One query: kernel of the train part, and who is labeled. n = L + U."""

    kernel: Floats
    labeled: IndexArray
    unlabeled: IndexArray
    signs: Floats
    batch_size: int

    def match(self, beta: float) -> tuple[Floats, Floats]:
        """Quadratic (U, U) and linear (U,) part of the distance between labeled + batch and the rest."""
        n, b = len(self.labeled) + len(self.unlabeled), self.batch_size
        within = self.kernel[np.ix_(self.unlabeled, self.unlabeled)]
        across = self.kernel[np.ix_(self.labeled, self.unlabeled)]
        linear = (len(self.unlabeled) - b) / n * across.sum(axis=0) - (len(self.labeled) + b) / n * within.sum(axis=0)
        return beta / 2 * within, beta * linear


def problem_of(state: State) -> Problem:
    """Set up the query; the kernel is kept between queries."""
    if "kernel" not in state.memo:
        state.memo["kernel"] = np.exp(-KERNEL_GAMMA * cdist(state.x, state.x, "sqeuclidean"))
    return Problem(state.memo["kernel"], state.labeled, state.unlabeled, state.signs, state.batch_size)


def worst_loss(f: Floats) -> Floats:
    """Squared loss of a decision value under its worse label, less the constant: f^2 + 2|f|."""
    loss: Floats = f**2 + 2 * np.abs(f)
    return loss


def fit_decision(problem: Problem, weight: Floats) -> Floats:
    """Fit the kernel model and return its values on the unlabeled items.

    Minimises |y - f_L|^2 + RIDGE |f|^2 + sum_j weight_j (f_j^2 + 2 |f_j|) by the alternating direction method of
    multipliers with z = f_U.

    Parameters
    ----------
    weight : (U,) float64 >= 0

    Returns
    -------
    (U,) float64.

    Notes
    -----
    O(n^3) once for the factorisation, O(n^2) for each of at most 100 steps; unlabeled items of weight 0 are left
    out of the fit, which does not change it.
    """
    active = np.flatnonzero(weight > 1e-10)
    rows = np.concatenate([problem.labeled, problem.unlabeled[active]])
    n, n_labeled, w = len(rows), len(problem.labeled), weight[active]
    kernel = problem.kernel[np.ix_(rows, rows)]
    # optimum over theta, f = kernel theta:  (D kernel + RIDGE I) theta = target, D the weight of each squared term
    squared = np.concatenate([np.ones(n_labeled), w + RHO / 2])
    step = np.linalg.inv(squared[:, None] * kernel + RIDGE * np.eye(n))
    target = np.concatenate([problem.signs, np.zeros(n - n_labeled)])
    z, dual = np.zeros(n - n_labeled), np.zeros(n - n_labeled)
    theta = step @ target
    for _ in range(ADMM_STEPS if len(active) else 0):
        target[n_labeled:] = RHO / 2 * (z - dual)
        theta = step @ target
        f = kernel[n_labeled:] @ theta
        old, z = z, np.sign(f + dual) * np.maximum(np.abs(f + dual) - 2 * w / RHO, 0)
        dual = dual + f - z
        if max(np.abs(f - z).max(), np.abs(z - old).max()) < 1e-6:
            break
    values: Floats = problem.kernel[np.ix_(problem.unlabeled, rows)] @ theta
    return values


@tabular("bmdr", family="hybrid", paper="Wang & Ye, KDD 2013", column="BMDR", cost="very slow", binary_only=True)
def bmdr(state: State) -> IndexArray:
    """Alternate between a kernel model and a relaxed batch, then take the items with the largest indicator."""
    problem = problem_of(state)
    quadratic, linear = problem.match(BETA)
    a = np.full(len(state.unlabeled), state.batch_size / len(state.unlabeled))
    for _ in range(ROUNDS):
        new = solve_capped(quadratic, linear + worst_loss(fit_decision(problem, a)), state.batch_size)
        settled = np.abs(new - a).max() < 1e-6
        a = new
        if settled:
            break
    return state.best(a)
