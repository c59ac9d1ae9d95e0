"""Distances that decide: float64, from the stored rows, so that no float32 rounding can change a pick."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from poolwise.kernels.distances import sq_norms
from poolwise.kernels.kcenter_bounds import PAIR_COST, lower_bounds, widen
from poolwise.kernels.kcenter_centres import Centres
from poolwise.kernels.kcenter_frame import CHUNK
from poolwise.types import FloatArray, IndexArray

PAIR_BLOCK = 2**22
"""Most (row, centre) pairs looked at together."""

Fetch = Callable[[IndexArray], FloatArray]
"""Stored rows by pool index, as float64."""


def exact_value(
    ids: IndexArray, sq_norm: FloatArray, guess: FloatArray, centres: Centres, fetch: Fetch
) -> tuple[FloatArray, IndexArray]:
    """Squared distance of each row to its nearest centre, in float64, and which centre that is.

    Parameters
    ----------
    guess : (n, t) float32 squared distances; +inf for centres that do not count; overwritten

    Centres are tried from the smallest guess until none is left that could be nearer. Of equally near centres the
    first counts, save that any copy of the row will do.
    """
    value = np.full(len(ids), np.inf)
    nearest = np.full(len(ids), -1, dtype=np.int64)
    at = np.arange(len(ids))
    while len(at):
        best = guess[at].argmin(axis=1)
        keep = np.isfinite(guess[at, best])
        at, best = at[keep], best[keep]
        low, _ = widen(guess[at, best], sq_norm[at])
        keep = low < value[at]
        at, best = at[keep], best[keep]
        if len(at):
            d = exact_pairs(ids[at], centres.ids[best], centres, fetch)
            nearer = (d < value[at]) | ((d == value[at]) & (best < nearest[at]))
            value[at[nearer]], nearest[at[nearer]] = d[nearer], best[nearer]
            guess[at, best] = np.inf
    return value, nearest


def exact_pairs(a: IndexArray, b: IndexArray, centres: Centres, fetch: Fetch) -> FloatArray:
    """Squared distances between rows by pool index, a[i] to b[i] (or all to one), in float64.

    Rounded to 41 bits, so that sums in another order give the same value.
    """
    wanted, back = np.unique(b, return_inverse=True)
    difference = fetch(a) - fetch(wanted)[back]
    difference *= centres.frame.scale
    return rounded(sq_norms(difference))


def rounded(value: FloatArray) -> FloatArray:
    """Round to 41 significant bits (Veltkamp splitting)."""
    scaled = value * (2.0**12 + 1)
    return scaled - (scaled - value)


def float32_guess(
    x: FloatArray, sq_norm: FloatArray, upper: FloatArray, centres: Centres, count: IndexArray
) -> FloatArray:
    """Float32 squared distances of each row to its first `count` centres; +inf where a centre cannot be nearest.

    Returns
    -------
    (n, t) float32, t = max(count)
    """
    t = int(count.max())
    later = np.arange(t) >= count[:, None]
    if centres.frame.basis is not None and np.isfinite(upper).all():
        bound = lower_bounds(centres.frame.sketch(x, sq_norm), sq_norm, upper, centres.probe[:t])
        row, column = np.nonzero((bound <= 0) & ~later)
        if len(row) * PAIR_COST < max(len(x), 32) * t:  # products of few rows are slowed by reading the centres
            bound.fill(np.inf)
            for start in range(0, len(row), CHUNK):
                r, c = row[start : start + CHUNK], column[start : start + CHUNK]
                dot = np.einsum("ij,ij->i", x[r], centres.x[c])
                bound[r, c] = sq_norm[r] + centres.sq_norm[c] - 2 * dot
            return bound
    guess = x @ centres.x[:t].T
    guess *= -2
    guess += centres.sq_norm[:t]
    guess += sq_norm[:, None]
    guess[later] = np.inf
    return guess
