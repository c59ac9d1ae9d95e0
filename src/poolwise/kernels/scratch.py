"""Memory for blocks that come one after another: fresh pages cost more than the arithmetic that fills them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from poolwise.types import Array

ALIGNED = 64
"""Bytes on whose multiples arrays begin: matrix units load rows that straddle cache lines at half the speed."""


class Scratch:
    """Hands out one array again and again, but never while somebody still holds it or a view of it."""

    def __init__(self) -> None:
        self._arrays: list[Array] = []

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return an array of that shape, its values undefined."""
        size = int(np.prod(shape))
        room = size + ALIGNED // dtype.itemsize
        for array in self._arrays:
            # Held by the list, by `array`, and by the argument of getrefcount: nobody else has it.
            if sys.getrefcount(array) == 3 and len(array) >= room and array.dtype == dtype:
                return _aligned(array, size).reshape(shape)
        fresh = np.empty(room, dtype=dtype)
        self._arrays = [a for a in self._arrays if len(a) >= room][-3:]
        self._arrays.append(fresh)
        return _aligned(fresh, size).reshape(shape)


def _aligned(array: Array, size: int) -> Array:
    skipped = -array.ctypes.data % ALIGNED // array.itemsize
    return array[skipped : skipped + size]
