"""Row scores compiled by numba (extra `fast`), with the bits of the NumPy forms in `scores`.

Import it through `compiled`. All functions are compiled when it is imported, or loaded as an earlier process compiled
them.

Loops are written so that the compiler takes sixteen values at once: maxima and minima of float32 are found among their
bits as integers, whose order is that of the values (of those >= 0 as they are, of others after a flip), because a
maximum of floats that respects NaN stays a scalar loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from poolwise.types import Array, FloatArray

F = TypeVar("F", bound=Callable[..., None])
M = TypeVar("M", bound=Callable[..., Any])

LARGEST = 0x7FFFFFFF
"""Bits below the sign."""

INFINITY = 0x7F800000
"""Bits of +inf."""


ROWS = numba.types.Array(numba.float32, 2, "C", readonly=True)
"""Rows that are read; one that may be written counts as such."""

NUMBERS = numba.float32[::1]


def _compiled(*arguments: object) -> Callable[[F], F]:
    """Compile for the given types; sums may be added in any order."""
    flags = {"reassoc", "nsz", "contract"}
    return cast(Callable[[F], F], numba.njit(numba.void(*arguments), cache=True, nogil=True, fastmath=flags))


@cast(Callable[[M], M], numba.njit(cache=True))
def _margin(total: Any, first: Any, second: Any, slack: Any) -> Any:
    """The score of a row; compiled apart, without leave to reorder, so that it is rounded as in NumPy."""
    sure = first > 0 and abs(total - np.float32(1)) <= slack
    return np.float32(1) - first + second if sure else np.float32(np.nan)


@_compiled(ROWS, numba.float32, NUMBERS)
def judged_margin(rows: FloatArray, slack: float, out: FloatArray) -> None:
    """1 - (largest - second largest) of each row (n, C) float32; NaN where it may hold no probabilities, or NaN or inf.

    Bits are compared as unsigned integers, so that a value below 0 (also -0.0) or NaN is the largest, and is seen. Sums
    may be off from 1 by `slack`.
    """
    n, c = rows.shape
    bits = rows.view(np.uint32)
    two = np.empty(2, dtype=np.float32)
    two_bits = two.view(np.uint32)
    for i in range(n):
        row, values = bits[i], rows[i]
        best, total = np.uint32(0), np.float32(0)
        for j in range(c):
            best = max(best, row[j])
            total += values[j]
        other, count = np.uint32(0), np.uint32(0)
        for j in range(c):
            other = max(other, row[j] if row[j] != best else np.uint32(0))
            count += np.uint32(row[j] == best)
        two_bits[0], two_bits[1] = best, best if count > 1 else other
        out[i] = _margin(total, two[0], two[1], slack)


@_compiled(ROWS, ROWS, NUMBERS)
def nearest_boundary(logits: FloatArray, inverse: Array, out: FloatArray) -> None:
    """Least (z_y - z_k) inverse[y, k] of finite rows z (n, C) float32, y = argmax z; an inverse of 0 counts as inf."""
    n, c = logits.shape
    bits, out_bits = logits.view(np.int32), out.view(np.int32)
    distance = np.empty(c, dtype=np.float32)
    distance_bits = distance.view(np.int32)
    for i in range(n):
        row, z = bits[i], logits[i]
        best = np.int32(-LARGEST - 1)
        for j in range(c):
            best = max(best, row[j] ^ ((row[j] >> 31) & np.int32(LARGEST)))
        best ^= (best >> 31) & np.int32(LARGEST)
        y = np.int32(c)
        for j in range(c):
            y = min(y, np.int32(j) if row[j] == best else np.int32(c))
        scale, largest = inverse[y], z[y]
        for j in range(c):
            distance[j] = (largest - z[j]) * scale[j]
        least = np.int32(INFINITY)
        for j in range(c):
            least = min(least, distance_bits[j] if scale[j] > 0 else np.int32(INFINITY))
        out_bits[i] = least
