"""The 1-centre of a set of rows: the row whose farthest row is nearest.

Every distance to a far row (a pivot) bounds a row's eccentricity, its distance to the farthest row, from below. The
rows with the smallest bounds are measured exactly, the rows farthest from those become pivots, and rows whose bound
exceeds the best eccentricity drop out, until none is left.
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.blocks import iter_blocks, load_rows
from poolwise.types import Array, BoolArray, IndexArray, Rows

AT_ONCE = 64
"""Rows that are measured in one pass, and pivots that come of it."""
SAME = 1e-12
"""Eccentricities closer than this, relative, are equal: the lower pool index wins."""


def one_center(rows: Rows, items: IndexArray) -> int:
    """Find the item whose distance to the item farthest from it is smallest; lowest pool index among equals.

    Parameters
    ----------
    rows : (N, D) float, finite
    items : (n,) int64 pool indices, sorted, n >= 1

    Returns
    -------
    Pool index.

    Notes
    -----
    Exact. A lap is one matrix product of 64 rows with those that are far out, and one with those that are left; few
    laps on data with a decaying spectrum, up to n / 64 of them on noise. Memory O(n) and one block.
    """
    mean = np.zeros(rows.shape[1])
    for _, block in iter_blocks(rows, items, dtype=np.float64):
        mean += block.sum(axis=0) / len(items)
    radius = _farthest(rows, items, mean, mean[None])  # distance to the mean
    pivots = items[np.argsort(-radius, kind="stable")[:AT_ONCE]]
    bound = np.zeros(len(items))
    alive, used, best = np.arange(len(items)), np.empty(0, dtype=np.int64), (np.inf, -1)
    while len(alive):
        if len(pivots):
            seen = _farthest(rows, items[alive], mean, load_rows(rows, pivots, np.float64))
            bound[alive] = np.maximum(bound[alive], seen)
            alive = alive[_may_win(bound[alive], alive, best)]
            used = np.union1d(used, pivots)
        now = alive[np.argsort(bound[alive], kind="stable")[:AT_ONCE]]
        if len(now):
            measured = load_rows(rows, items[now], np.float64)
            reach = float((bound[now] - radius[now]).min())  # a row nearer the mean is not the farthest of any of them
            far = items[radius >= reach - 1e-9 * abs(reach)]
            value, which = _eccentricity(rows, far, mean, measured)
            smallest = value.min()
            pos = int(now[value <= smallest * (1 + SAME)].min())
            if _may_win(np.array([smallest]), np.array([pos]), best)[0]:
                best = (float(smallest), pos)
            pivots = np.setdiff1d(far[which], used)
            alive = np.setdiff1d(alive, now, assume_unique=True)
            alive = alive[_may_win(bound[alive], alive, best)]
    return int(items[best[1]])


def _may_win(bound: Array, pos: IndexArray, best: tuple[float, int]) -> BoolArray:
    """Which rows can be better than the best so far: nearer, or as near with a lower index."""
    value, at = best
    if at < 0:
        return np.ones(len(pos), dtype=bool)
    found: BoolArray = (bound < value * (1 - SAME)) | ((bound <= value * (1 + SAME)) & (pos < at))
    return found


def _distances(block: Array, mean: Array, centred: Array, sq_norm: Array) -> Array:
    """(n, p) distances of a block to p rows; both seen from the mean, where the sum cancels least."""
    x = block - mean
    square = (x * x).sum(axis=1)[:, None] + sq_norm - 2 * (x @ centred.T)
    distance: Array = np.sqrt(np.maximum(square, 0))
    return distance


def _farthest(rows: Rows, items: IndexArray, mean: Array, pivots: Array) -> Array:
    """Distance of each item to the pivot farthest from it."""
    centred = pivots - mean
    sq_norm = (centred * centred).sum(axis=1)
    reach = np.empty(len(items))
    for start, block in iter_blocks(rows, items, dtype=np.float64):
        reach[start : start + len(block)] = _distances(block, mean, centred, sq_norm).max(axis=1)
    return reach


def _eccentricity(rows: Rows, items: IndexArray, mean: Array, measured: Array) -> tuple[Array, IndexArray]:
    """Distance of each measured row to the item farthest from it, and the position of that item."""
    centred = measured - mean
    sq_norm = (centred * centred).sum(axis=1)
    value, which = np.full(len(measured), -1.0), np.zeros(len(measured), dtype=np.int64)
    for start, block in iter_blocks(rows, items, dtype=np.float64):
        distance = _distances(block, mean, centred, sq_norm)
        far = distance.argmax(axis=0)
        longest = distance[far, np.arange(len(measured))]
        which[longest > value] = start + far[longest > value]
        value = np.maximum(value, longest)
    return value, which
