"""QUIRE: informative and representative items by a min-max over labels.

Source: Huang, Jin & Zhou, "Active Learning by Querying Informative and Representative Examples", NIPS 2010, with the
determinant term as libact evaluates it: with L = (K + lambda I)^-1, minimise over s
L_ss - det(L_UU) / L_ss + 2 |(L_sl - L_su L_uu^-1 L_ul) y_l|, u the unlabeled items without s.
Differs from libact: the same values from block inverses of K + lambda I, O(L^3 + U L^2) a query instead of O(U^4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from poolwise.bench.tabular.registry import State, tabular
from poolwise.types import IndexArray

GAMMA = 1.0
LAMBDA = 1.0


@tabular("quire", family="hybrid", paper="Huang et al., NIPS 2010", column="QUIRE", binary_only=True)
def quire(state: State) -> IndexArray:
    """Take the items whose worst-case label leaves the smallest loss.

    Notes
    -----
    With M = K + lambda I: L_UU^-1 = M_UU - M_Ul M_ll^-1 M_lU and L_UU^-1 L_Ul = -M_Ul M_ll^-1, so the inner
    bracket of s is the s-th entry of -M_Ul M_ll^-1 y_l over the s-th diagonal entry of L_UU^-1, and
    det L_UU = det M_ll / det M. Memory: two (n_train, n_train) matrices.
    """
    memo = state.memo
    if "m" not in memo:
        memo["m"] = np.exp(-GAMMA * cdist(state.x, state.x, "sqeuclidean")) + LAMBDA * np.eye(len(state.x))
        memo["diagonal"] = np.diag(np.linalg.inv(memo["m"])).copy()
        memo["logdet"] = np.linalg.slogdet(memo["m"])[1]
    return state.best(-_values(memo["m"], memo["diagonal"], memo["logdet"], state))


def _values(m: NDArray[np.float64], diagonal: NDArray[np.float64], logdet: float, state: State) -> NDArray[np.float64]:
    labeled, unlabeled = state.labeled, state.unlabeled
    across = m[np.ix_(unlabeled, labeled)]  # (U, L)
    factor = cho_factor(m[np.ix_(labeled, labeled)])
    solved = cho_solve(factor, across.T)  # (L, U)
    schur = m[unlabeled, unlabeled] - np.einsum("ij,ji->i", across, solved)  # (U,) diagonal of L_UU^-1
    bracket = -(solved.T @ state.signs) / schur
    det = np.exp(2 * np.log(np.diag(factor[0])).sum() - logdet)
    own = diagonal[unlabeled]
    values: NDArray[np.float64] = own - det / own + 2 * np.abs(bracket)
    return values
