"""Greedy choice by Fisher information: minimise tr(M^-1 F), forward and then backward.

Source: Ash, Goel, Krishnamurthy & Kakade, "Gone Fishing: Neural Active Learning with Fisher Embeddings", NeurIPS 2021,
Algorithm 1 and equations 3 to 5 (BAIT); rank-one form: Huseljic, Herde, Hahn & Sick, "Fast Fishing: Approximating BAIT
for Efficient and Scalable Deep Active Image Classification", ECML PKDD 2024.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from poolwise.progress import task
from poolwise.types import FloatArray, IndexArray

REFRESH = 500
"""Picks after which all products are computed afresh, against the drift of rounding."""

Square = NDArray[np.float64]


class _RankOne:
    """Inverse A of a sum of rank-one terms, Q = A F A, and for every row v: a = v'Av, b = v'Qv."""

    def __init__(self, rows: FloatArray, matrix: Square, fisher: Square) -> None:
        self.rows, self.matrix, self.fisher = rows, matrix.copy(), fisher
        self.refresh()

    def refresh(self) -> None:
        """Compute everything from the sum of terms."""
        self.inverse: Square = np.asarray(np.linalg.inv(self.matrix), dtype=np.float64)
        self.middle = self.inverse @ self.fisher @ self.inverse
        self.a = self._form(self.inverse)
        self.b = self._form(self.middle)

    def _form(self, square: Square) -> NDArray[np.float64]:
        out = np.empty(len(self.rows))
        for start in range(0, len(self.rows), 4096):
            v = self.rows[start : start + 4096].astype(np.float64)
            out[start : start + 4096] = np.einsum("ij,ij->i", v @ square, v)
        return out

    def change(self, position: int, sign: int) -> float:
        """Add (sign 1) or remove (sign -1) one row; returns the fall of the trace, below 0 for a removal."""
        v = self.rows[position].astype(np.float64)
        u, w = self.inverse @ v, self.middle @ v
        c, scale = float(v @ w), 1 + sign * float(v @ u)
        kind = self.rows.dtype
        x, y = (self.rows @ np.stack([u, w], axis=1).astype(kind)).astype(np.float64).T
        self.b += -sign * 2 * x * y / scale + c * x**2 / scale**2
        self.a -= sign * x**2 / scale
        self.middle += -sign * (np.outer(u, w) + np.outer(w, u)) / scale + c * np.outer(u, u) / scale**2
        self.inverse -= sign * np.outer(u, u) / scale
        self.matrix += sign * np.outer(v, v)
        return sign * c / scale


def greedy_rank_one(
    rows: FloatArray, matrix: Square, fisher: Square, count: int, forward: int
) -> tuple[IndexArray, NDArray[np.float64]]:
    """Add `forward` rows greedily, then take back those whose loss costs least until `count` are left.

    Parameters
    ----------
    rows : (n, D) float; the information of row v is v v'
    matrix : (D, D) positive definite, what is known already
    fisher : (D, D), the information that predictions on the pool need
    count, forward : 1 <= count <= forward <= n

    Returns
    -------
    (count,) positions in the order they were added, and the fall of the trace when each was added. Lowest position
    among equals.

    Notes
    -----
    Time 2 n D^2 + 4 n D a pick; memory O(n + D^2) beside the rows.
    """
    state = _RankOne(rows, matrix, fisher)
    free = np.ones(len(rows), dtype=bool)
    chosen: list[int] = []
    falls: list[float] = []
    with task("adding", forward) as work:
        for number in range(1, forward + 1):
            gains = np.where(free, state.b / (1 + state.a), -np.inf)
            position = int(gains.argmax())
            free[position] = False
            chosen.append(position)
            falls.append(state.change(position, 1))
            if number % REFRESH == 0:
                state.refresh()
            work.advance()
    kept = _backward(rows[np.array(chosen)], state.matrix, fisher, count)
    return np.array(chosen, dtype=np.int64)[kept], np.array(falls)[kept]


def _backward(rows: FloatArray, matrix: Square, fisher: Square, count: int) -> IndexArray:
    if len(rows) == count:
        return np.arange(count)
    state = _RankOne(rows, matrix, fisher)
    left = np.ones(len(rows), dtype=bool)
    for number in range(1, len(rows) - count + 1):
        losses = np.where(left, state.b / np.maximum(1 - state.a, 1e-12), np.inf)
        position = int(losses.argmin())
        left[position] = False
        state.change(position, -1)
        if number % REFRESH == 0:
            state.refresh()
    return np.flatnonzero(left)


def greedy_rank_many(
    factors: FloatArray, matrix: Square, fisher: Square, count: int, forward: int
) -> tuple[IndexArray, NDArray[np.float64]]:
    """Do the same where the information of an item is V V' with V (P, r): for small problems.

    Parameters
    ----------
    factors : (n, r, P) float64
    matrix, fisher : (P, P)
    count, forward : 1 <= count <= forward <= n

    Returns
    -------
    As `greedy_rank_one`.

    Notes
    -----
    Time n r P^2 a pick.
    """
    matrix = matrix.copy()
    chosen: list[int] = []
    falls: list[float] = []
    with task("adding", forward) as work:
        for _ in range(forward):
            change = _trace_changes(factors, np.asarray(np.linalg.inv(matrix), dtype=np.float64), fisher, 1)
            change[chosen] = -np.inf
            position = int(change.argmax())
            matrix += factors[position].T @ factors[position]
            chosen.append(position)
            falls.append(float(change[position]))
            work.advance()
    kept = list(range(forward))
    while len(kept) > count:
        loss = _trace_changes(
            factors[np.array(chosen)[kept]], np.asarray(np.linalg.inv(matrix), dtype=np.float64), fisher, -1
        )
        out = kept.pop(int(loss.argmin()))
        matrix -= factors[chosen[out]].T @ factors[chosen[out]]
    return np.array(chosen, dtype=np.int64)[kept], np.array(falls)[kept]


def _trace_changes(factors: FloatArray, inverse: Square, fisher: Square, sign: int) -> NDArray[np.float64]:
    """tr[V'A F A V (I + sign V'AV)^-1] of each item, (n,)."""
    n, rank, _ = factors.shape
    out = np.empty(n)
    for start in range(0, n, 512):
        v = factors[start : start + 512]
        av = v @ inverse  # (n, r, P)
        inner = np.eye(rank) + sign * np.einsum("nip,njp->nij", av, v)
        top = np.einsum("nip,njp->nij", av @ fisher, av)
        out[start : start + 512] = np.trace(np.linalg.solve(inner, top), axis1=1, axis2=2)
    return out
