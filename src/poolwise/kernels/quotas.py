"""How many items each class gets: equal, proportional, and water-filling shares that sum exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from poolwise.errors import BudgetError
from poolwise.types import IndexArray


def equal_quotas(size: int, n_classes: int) -> IndexArray:
    """Share `size` equally; the first `size mod n_classes` classes get one more. Returns (C,) int64."""
    quotas = np.full(n_classes, size // n_classes, dtype=np.int64)
    quotas[: size % n_classes] += 1
    return quotas


def proportional_quotas(size: int, weights: ArrayLike) -> IndexArray:
    """Share `size` in proportion to weights >= 0 by largest remainder; ties go to the lower class.

    Weights that are all zero count as equal. Returns (C,) int64 that sums to `size`.
    """
    weight = np.asarray(weights, dtype=np.float64)
    if not weight.sum() > 0:
        weight = np.ones(len(weight))
    share = size * weight / weight.sum()
    quotas: IndexArray = np.floor(share).astype(np.int64)
    left = size - int(quotas.sum())
    quotas[np.argsort(-(share - quotas), kind="stable")[:left]] += 1
    return quotas


def water_fill(size: int, available: ArrayLike, start: ArrayLike | None = None) -> IndexArray:
    """Pour `size` items into classes so that the levels `start + share` become as equal as possible.

    Parameters
    ----------
    size : 0 <= size <= sum(available)
    available : (C,) int, the most each class can take
    start : (C,) int, what each class already has; default 0

    Returns
    -------
    (C,) int64, sums to `size`, never above `available`. Classes that are neither full nor already above the level
    differ by one at most; the spare items go to the classes with most left, then to the lower class.

    Raises
    ------
    BudgetError
        If `size` exceeds what is available.
    """
    room = np.asarray(available, dtype=np.int64)
    base = np.zeros(len(room), dtype=np.int64) if start is None else np.asarray(start, dtype=np.int64)
    if not 0 <= size <= room.sum():
        raise BudgetError(f"size must be between 0 and {room.sum()} (available items); got {size}. Ask for fewer.")

    def shares(level: int) -> IndexArray:
        return np.asarray(np.clip(level - base, 0, room))

    low, high = int(base.min(initial=0)), int((base + room).max(initial=0))
    while low < high:  # the highest level that does not need more than `size`
        middle = (low + high + 1) // 2
        if shares(middle).sum() <= size:
            low = middle
        else:
            high = middle - 1
    quotas = shares(low)
    spare = np.flatnonzero((base <= low) & (quotas < room))
    left = size - int(quotas.sum())
    quotas[spare[np.argsort(-(room - quotas)[spare], kind="stable")[:left]]] += 1
    return quotas
