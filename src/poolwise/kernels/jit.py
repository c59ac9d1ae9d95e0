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
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from poolwise.types import Array, FloatArray, IndexArray

F = TypeVar("F", bound=Callable[..., None])
M = TypeVar("M", bound=Callable[..., Any])

LARGEST = 0x7FFFFFFF
"""Bits below the sign."""

INFINITY = 0x7F800000
"""Bits of +inf."""


FLAGS = {"reassoc", "nsz", "contract"}
"""Sums may be added in any order; NaN and inf stay what they are."""

RESULT = 2.0**-8 * 1.01
"""Relative rounding of a result to bfloat16, with room for the float32 sums that follow."""

AHEAD = 1024
"""Values of a row-wise kernel that are asked for before they are needed; the processor alone looks ahead too late."""

LINE = 16
"""float32 values in a cache line."""

SHORTEST = 1e-16
"""Squares of values below 1e-19 vanish in float32; lengths are that much longer, for up to a million of them."""

LOG2_E = 1.4426950408889634

ROWS = numba.types.Array(numba.float32, 2, "C", readonly=True)
"""Rows that are read; one that may be written counts as such."""

NUMBERS = numba.float32[::1]

NUMBERS_READ = numba.types.Array(numba.float32, 1, "C", readonly=True)

TABLE = numba.float32[:, ::1]

PLACES = numba.types.Array(numba.int64, 1, "C", readonly=True)

HALVES = numba.uint16[:, ::1]

HALVES_READ = numba.types.Array(numba.uint16, 2, "C", readonly=True)


@intrinsic  # type: ignore[untyped-decorator]
def _prefetch(typing_context: Any, array: Any, place: Any) -> Any:
    """Ask for the cache line of array[place], which may lie beyond the end."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        asked = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, asked, "llvm.prefetch.p0")
        line = builder.bitcast(builder.gep(data, [arguments[1]]), pointer)
        builder.call(function, [line, number(0), number(3), number(1)])  # to read, to keep, data

    return numba.types.void(array, place), code


def _compiled(*arguments: object) -> Callable[[F], F]:
    """Compile for the given types."""
    return cast(Callable[[F], F], numba.njit(numba.void(*arguments), cache=True, nogil=True, fastmath=FLAGS))


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
    two_bits, flat = two.view(np.uint32), rows.reshape(-1)
    for i in range(n):
        for j in range(0, c, LINE):
            _prefetch(flat, i * c + j + AHEAD)
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


def _inlined(function: M) -> M:
    """Compile into those that call it."""
    return cast(M, numba.njit(cache=True, nogil=True, fastmath=FLAGS)(function))


@_inlined
def _rounded(bits: Any) -> Any:
    """Bits of float32, as unsigned integers, rounded to bfloat16, to even among equals."""
    return np.uint32((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000))


@_compiled(ROWS, HALVES, TABLE)
def round_rows(rows: FloatArray, near: Array, lengths: FloatArray) -> None:
    """Round rows x (n, D) to bits of bfloat16 x' (n or more, D); (n, 2) at least the lengths of x - x' and of x'."""
    n, d = rows.shape
    bits = rows.view(np.uint32)
    back = np.empty(d, dtype=np.float32)
    back_bits = back.view(np.uint32)
    for i in range(n):
        for j in range(d):
            kept = _rounded(bits[i, j])
            back_bits[j] = kept
            near[i, j] = np.uint16(kept >> np.uint32(16))
        lost, length = np.float32(0), np.float32(0)
        for j in range(d):
            gone = rows[i, j] - back[j]
            lost += gone * gone
            length += back[j] * back[j]
        lengths[i, 0], lengths[i, 1] = np.sqrt(lost) + np.float32(SHORTEST), np.sqrt(length) + np.float32(SHORTEST)


@_compiled(ROWS, PLACES, HALVES)
def lost_and_near(rows: FloatArray, places: IndexArray, out: Array) -> None:
    """Bits of bfloat16 of x - x' and of x', (n or more, 2 D), for the rows x of (N, D) float32 at (n,) places."""
    d = rows.shape[1]
    bits = rows.view(np.uint32)
    back, gone = np.empty((2, d), dtype=np.float32)
    back_bits, gone_bits = back.view(np.uint32), gone.view(np.uint32)
    for i in range(len(places)):
        row, value = bits[places[i]], rows[places[i]]
        for j in range(d):
            kept = _rounded(row[j])
            back_bits[j] = kept
            out[i, d + j] = np.uint16(kept >> np.uint32(16))
        for j in range(d):
            gone[j] = value[j] - back[j]
        for j in range(d):
            out[i, j] = np.uint16(_rounded(gone_bits[j]) >> np.uint32(16))


@_compiled(
    HALVES_READ, PLACES, HALVES_READ, NUMBERS_READ, ROWS, ROWS, numba.boolean, NUMBERS, NUMBERS, numba.int64[::1]
)
def bound_logits(
    z: Array,
    places: IndexArray,
    more: Array,
    bias: FloatArray,
    bound: FloatArray,
    lengths: FloatArray,
    with_mass: bool,
    gap: FloatArray,
    mass: FloatArray,
    top: IndexArray,
) -> None:
    """Bounds of logits: what the largest of a row is ahead at least, and the most that sum exp(logit - largest) is.

    Logits are z + more + bias at (n,) places of z (N, C) bits of bfloat16, more (n, C) such bits, or no rows. They may
    be off by their own rounding and by lengths (N, 2) @ bound[:2] + bound[2], bound (3, C). The gap is NaN where some
    are not finite, and not above 0 where class `top` may not be the largest.
    """
    n, c = len(gap), z.shape[1]
    value, extra, slack, high = np.empty((4, c), dtype=np.float32)
    value_bits, extra_bits, keys = value.view(np.uint32), extra.view(np.uint32), high.view(np.int32)
    power = np.empty(c, dtype=np.int32)
    power_value = power.view(np.float32)
    extra[:] = 0
    for i in range(n):
        row, lost, length = z[places[i]], lengths[places[i], 0], lengths[places[i], 1]
        for k in range(c):
            value_bits[k] = np.uint32(row[k]) << np.uint32(16)
        if len(more):
            for k in range(c):
                extra_bits[k] = np.uint32(more[i, k]) << np.uint32(16)
        total = np.float32(0)
        for k in range(c):
            own = np.float32(RESULT) * (abs(value[k]) + abs(extra[k]))
            slack[k] = own + lost * bound[0, k] + length * bound[1, k] + bound[2, k]
            high[k] = value[k] + extra[k] + bias[k] + slack[k]
            total += high[k]
        best = np.int32(-LARGEST - 1)
        for k in range(c):
            keys[k] ^= (keys[k] >> 31) & np.int32(LARGEST)
            best = max(best, keys[k])
        y = np.int32(c)
        for k in range(c):
            y = min(y, np.int32(k) if keys[k] == best else np.int32(c))
        keys[y] = np.int32(-LARGEST - 1)
        second = np.int32(-LARGEST - 1)
        for k in range(c):
            second = max(second, keys[k])
            keys[k] ^= (keys[k] >> 31) & np.int32(LARGEST)
        value_bits[0] = best ^ ((best >> 31) & np.int32(LARGEST))
        low = value[0] - 2 * slack[y]
        value_bits[0] = second ^ ((second >> 31) & np.int32(LARGEST))
        gap[i], top[i] = low - value[0] + 0 * total, y
        if with_mass:
            high[y] = -np.inf
            sum_ = np.float32(1)
            for k in range(c):
                exponent = min(max(high[k] - low, np.float32(-80)), np.float32(80))
                power[k] = np.int32(exponent * np.float32(LOG2_E * 2**23) + np.float32(127 * 2**23))
            for k in range(c):
                sum_ += power_value[k]
            mass[i] = sum_ * np.float32(1.0001)
