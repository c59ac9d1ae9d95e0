"""A few vectors in memory, plain or products e (x) h that are never built, and the squared distances between them.

<g_i, g_j> = <e_i, e_j> <h_i, h_j> and |g_i|^2 = |e_i|^2 |h_i|^2. Distances are float32 products of matrices; where the
result is small beside the lengths, the difference is computed again directly, in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from poolwise.kernels.distances import CANCELLED
from poolwise.types import FloatArray, IndexArray

SAME = 1e-12
"""Vectors nearer than this share of |a|^2 + |b|^2 (squared) count as equal, so rounding is never drawn."""

ROUNDING = 4e-6
"""Bound on the rounding of a float32 squared distance, as a share of |a|^2 + |b|^2."""

PAIR_VALUES = 2**18
"""Numbers per factor in one go of the direct computation."""


@dataclass(frozen=True, slots=True)
class Points:
    """A few vectors, in memory.

    h : (n, D) float
    sq : (n,) float, squared lengths
    e : (n, C) float, first factors; None for plain vectors
    top : (n,) int64 or None; where given, e holds probabilities and 1 is still to be taken off entry top
    bias : 1.0 if h stands for the row with a constant 1 appended, else 0.0
    slack : (n,) float or None; where given, e is incomplete, and this is the length of what it leaves out
    """

    h: FloatArray
    sq: FloatArray
    e: FloatArray | None = None
    top: IndexArray | None = None
    bias: float = 0.0
    slack: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.h)

    def at(self, key: slice | IndexArray) -> Points:
        """Take some of them."""
        e = None if self.e is None else self.e[key]
        return Points(self.h[key], self.sq[key], e, None if self.top is None else self.top[key], self.bias)


def join(parts: Sequence[Points]) -> Points:
    """Put complete points of one kind in a row."""
    first = parts[0]
    e = None if first.e is None else np.concatenate([part.e for part in parts if part.e is not None])
    h, sq = np.concatenate([part.h for part in parts]), np.concatenate([part.sq for part in parts])
    return Points(h, sq, e, None, first.bias)


def inner_products(a: Points, b: Points) -> FloatArray:
    """<a_i, b_j> as (len(a), len(b)), or the least it can be where `a` has slack; `b` must be complete."""
    out: FloatArray = a.h @ b.h.T
    if a.e is not None and b.e is not None:
        if a.bias:
            out += a.h.dtype.type(a.bias)
        factor = a.e @ b.e.T
        if a.top is not None:
            factor -= b.e.T[a.top]
        if a.slack is not None:
            left_out = np.abs(out)
            left_out *= a.slack[:, None]
            left_out *= np.sqrt(np.einsum("ij,ij->i", b.e, b.e))
        out *= factor
        if a.slack is not None:
            out -= left_out
    return out


def sq_distances(a: Points, b: Points) -> FloatArray:
    """|a_i - b_j|^2 as (len(a), len(b)); differences that cancel are computed again directly, in float64.

    Where `a` has slack, the result is an upper bound.
    """
    out = inner_products(a, b)
    out *= -2
    out += a.sq[:, None]
    out += b.sq
    if a.slack is not None:
        return np.maximum(out, ROUNDING * (a.sq[:, None] + b.sq), out=out)
    if a is b:
        np.fill_diagonal(out, np.inf)
    low = np.flatnonzero(out.min(axis=1, initial=np.inf) < CANCELLED * (a.sq + b.sq.max(initial=0.0)))
    rows, columns = np.nonzero(out[low] < CANCELLED * (a.sq[low, None] + b.sq))
    step = max(1, PAIR_VALUES // a.h.shape[1])
    for start in range(0, len(rows), step):
        i, j = low[rows[start : start + step]], columns[start : start + step]
        out[i, j] = _direct(a.at(i), b.at(j))
    if a is b:
        np.fill_diagonal(out, 0)
    return out


def nearest_sq(a: Points, b: Points) -> FloatArray:
    """Squared distance from each a_i to the nearest b_j, as (len(a),)."""
    nearest: FloatArray = sq_distances(a, b).min(axis=1, initial=np.inf)
    return nearest


def _direct(a: Points, b: Points) -> FloatArray:
    """|a_i - b_i|^2 without subtracting large numbers: g - g' = (e - e') (x) h + e' (x) (h - h')."""
    h, h_step = a.h.astype(np.float64), b.h.astype(np.float64) - a.h  # (n, D)
    d2: FloatArray = np.einsum("ij,ij->i", h_step, h_step)
    if a.e is not None and b.e is not None:
        e, e_other = a.e.astype(np.float64), b.e.astype(np.float64)  # (n, C)
        if a.top is not None:
            e[np.arange(len(e)), a.top] -= 1
        e -= e_other
        cross = np.einsum("ij,ij->i", e, e_other) * np.einsum("ij,ij->i", h_step, h)
        d2 *= np.einsum("ij,ij->i", e_other, e_other)
        d2 += np.einsum("ij,ij->i", e, e) * (np.einsum("ij,ij->i", h, h) + a.bias) - 2 * cross
    return np.where(d2 > SAME * (a.sq.astype(np.float64) + b.sq), d2, 0.0)
