"""Logits from bfloat16 products, with bounds: rows that cannot be among the best are seen for a fraction of the price.

Processors with matrix units for bfloat16 multiply it five to eight times as fast as float32. It has too few digits to
rank by, but the error has a bound: with x' and w' the rounded vectors, by Cauchy and Schwarz

    |x' w' - x w| <= |x - x'| |w| + |x'| |w' - w|,

and what the sums and the result lose comes on top. So it is known by how much the largest logit of a row is ahead at
least, and what all others amount to at most. Where that shows that the score of a row misses the cut, the row is done
with. Where better logits are likely to show it, the two products that were left out are added, (x - x') w' +
x' (w - w'). The rows that remain are computed in float32 as always, so that the answer is the same.

Needs torch and numba (extras `torch`, `fast`), which are loaded when a process has multiplied so much that they pay.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from poolwise.kernels import backend, compiled
from poolwise.kernels.blocks import LinearLogits
from poolwise.kernels.scratch import Scratch
from poolwise.types import Array, BoolArray, FloatArray, IndexArray

PAYS = 2**38
"""Multiplications (some four seconds in float32) after which torch is loaded; that takes two seconds."""

GAIN = 2.0
"""How many times as fast as float32 products those of bfloat16 must be to be used."""

TRIES = 12
"""Products of each kind that are timed, in 60 ms."""

ROOM = 1.001
"""Bounds are wider by this factor, as lengths are sums in float32."""

SUM = 2.0**-24
"""Relative rounding of a float32 addition; D values are added at most D times."""

TINIEST = 1e-30
"""Matrix units take numbers below 1.2e-38 as zero; bounds leave room for more than that."""

WIDEST = 1024
"""Rows wider than this get no better logits: measured with 2048, those cost more than they saved."""

BLOCK_BYTES = 2**23
"""Size of the float32 copy of a block of rows, or of their logits; besides there are up to five of half that size."""

SAME = 256
"""Products have a multiple of so many rows: the first one of each size takes milliseconds to prepare."""


class _State:
    """What this process has multiplied, and whether bfloat16 pays on this processor; answers do not depend on it."""

    multiplied = 0
    fast: bool | None = None


def load() -> bool:
    """Load what is needed and time both products, once; say whether coarse logits are used from now on."""
    if _State.fast is None:
        there = importlib.util.find_spec("torch") is not None and compiled.load()
        _State.fast = there and gain() >= GAIN
    return _State.fast


def gain() -> float:
    """Measure how many times as fast as float32 products this processor multiplies bfloat16."""
    there, side = backend.torch(), 512
    whole = there.ones(2 * side, side)

    def least(x: Any) -> float:
        """The time of a product; the fastest of many counts, as others may have the processor meanwhile."""
        seconds = []
        for _ in range(TRIES):
            start = time.perf_counter()
            there.mm(x, x[:side])
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    with backend.full_precision(there):
        return least(whole) / least(whole.bfloat16())


def head_for(logits: LinearLogits, n_rows: int) -> CoarseHead | None:
    """Return coarse logits of a head for so many rows, if they pay; None on a device, which has its own way."""
    if backend.device() is not None:
        return None
    _State.multiplied += n_rows * logits.head_weight.size
    if _State.fast is None and _State.multiplied >= PAYS:
        load()
    forms = compiled.loaded()
    return CoarseHead(forms, logits.head_weight, logits.head_bias) if _State.fast and forms is not None else None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known of rows of logits.

    gap : (n,) float32, the largest is ahead of all others by that at least; NaN if nothing is known, and where it is
        not above 0 another than `top` may be the largest
    mass : (n,) float32 >= 1, the most that the sum of exp(logit - largest) may be; inf if it was not asked for
    top : (n,) int64, class of the largest
    """

    gap: FloatArray
    mass: FloatArray
    top: IndexArray

    def of(self, rows: IndexArray) -> Bounds:
        """Bounds of some of the rows."""
        return Bounds(self.gap[rows], self.mass[rows], self.top[rows])

    def sharper(self, doubt: FloatArray) -> Bounds:
        """The best that could be known, were it not for a doubt (n,) about each gap."""
        with np.errstate(invalid="ignore"):  # inf * 0
            return Bounds(self.gap + doubt, np.maximum(1, self.mass * np.exp(-doubt)), self.top)


class CoarseHead:
    """A linear head in bfloat16, and how far its logits may be off.

    Parameters
    ----------
    forms : the module `jit`
    weight : (C, D) float
    bias : (C,) float
    """

    def __init__(self, forms: ModuleType, weight: Array, bias: Array) -> None:
        self._there, self._forms, self._scratch = backend.torch(), forms, Scratch()
        with np.errstate(over="ignore"):
            given = np.asarray(weight, dtype=np.float32)
            self._bias = np.asarray(bias, dtype=np.float32)
        near, lost = self._rounded(given)
        again, twice = self._rounded(lost)  # what rounding took, rounded itself, and what that took
        self._weight, self._offset = (self._there.from_numpy(backend.alias(a)) for a in (given, self._bias))
        self._head = self._tensor(near)  # (D, C)
        self._both = self._tensor(np.hstack([near, again]))  # (2 D, C)
        sums = (given.shape[1] + 1) * SUM * _length(given)  # the one more is for weights that were float64
        known = 1e-6 * np.abs(self._bias) + TINIEST
        once = [_length(given), _length(lost) + sums, known]
        more = [2.0**-8 * _length(near) + _length(lost), _length(twice) + 3 * sums, known]
        self._once, self._more = (ROOM * np.array(bound, dtype=np.float32) for bound in (once, more))  # (3, C)
        self._typical = self._once[:2] + self._once[:2].mean(axis=1, keepdims=True)  # of a gap to a class like most

    def open_rows(self, x: FloatArray, misses: Callable[[Bounds], BoolArray], mass: bool) -> IndexArray | None:
        """Positions of the rows that may not miss, for all that is known of their logits; None if x is not all finite.

        Parameters
        ----------
        x : (n, D) float32
        misses : says of which rows bounds show enough; False where it compares with NaN
        mass : whether it wants `Bounds.mass`
        """
        near, lengths = self._halves(len(x), x.shape[1]), np.empty((len(x), 2), dtype=np.float32)
        self._forms.round_rows(x, near, lengths)
        if not np.isfinite(lengths.sum()):
            return None
        z = self._product(near, self._head)
        bounds = self._bounds(z, np.arange(len(x)), z[:0], self._once, lengths, mass)
        left = np.flatnonzero(~misses(bounds))
        if x.shape[1] > WIDEST:
            return left
        doubt = np.einsum("ij,ji->i", lengths[left], self._typical[:, bounds.top[left]])
        hope = np.flatnonzero(misses(bounds.of(left).sharper(doubt)))
        if len(hope) < SAME:
            return left
        again, both = left[hope], self._halves(len(hope), 2 * x.shape[1])
        self._forms.lost_and_near(x, again, both)
        better = self._bounds(z, again, self._product(both, self._both), self._more, lengths, mass)
        return np.asarray(np.delete(left, hope[misses(better)]))

    def logits(self, x: FloatArray) -> FloatArray:
        """Compute (n, C) logits in float32, by torch: the threads of two libraries would be in each other's way."""
        with backend.full_precision(self._there):
            return np.asarray(self._there.addmm(self._offset, self._there.from_numpy(x), self._weight.T).numpy())

    def _bounds(
        self, z: Array, rows: IndexArray, more: Array, bound: FloatArray, lengths: FloatArray, mass: bool
    ) -> Bounds:
        gap, total = np.full((2, len(rows)), np.inf, dtype=np.float32)
        top = np.empty(len(rows), dtype=np.int64)
        self._forms.bound_logits(z, rows, more, self._bias, bound, lengths, mass, gap, total, top)
        return Bounds(gap, total, top)

    def _product(self, bits: Array, head: Any) -> Array:
        """Multiply rows of bfloat16 by a (D, C) tensor; returns the bits of (n, C) bfloat16."""
        out = self._halves(len(bits), head.shape[1])
        rows, product = (self._there.from_numpy(array).view(self._there.bfloat16) for array in (bits, out))
        self._there.mm(rows, head, out=product)
        return out

    def _halves(self, n_rows: int, width: int) -> Array:
        """Memory for bfloat16 rows, n or a few more."""
        return self._scratch.take((-(-n_rows // SAME) * SAME, width), np.dtype(np.uint16))

    def _tensor(self, rows: Array) -> Any:
        """Turn (C, n) bfloat16 values into a (n, C) tensor."""
        return self._there.from_numpy(rows).bfloat16().T

    def _rounded(self, rows: Array) -> tuple[Array, Array]:
        """Round (C, D) float32 to bfloat16, and say what was lost; both float32."""
        near = self._there.from_numpy(backend.alias(rows)).bfloat16().float().numpy()
        return near, rows - near


def _length(rows: Array) -> FloatArray:
    """Lengths of float32 rows, summed in float64 so that tiny squares do not vanish, without a copy of the rows."""
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64)))
