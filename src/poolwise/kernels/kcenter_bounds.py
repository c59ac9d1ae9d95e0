"""Intervals that hold a row's squared distance to its nearest centre, from float32 arithmetic.

A float32 result is trusted to `TOLERANCE`, so a row has a lower and an upper bound. They are brought up to date with
new centres by matrix products; where the frame has leading directions, only for pairs that the low-dimensional bound
does not rule out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from poolwise.kernels.kcenter_centres import Centres
from poolwise.kernels.kcenter_frame import CHUNK, SKETCH_DIM
from poolwise.types import FloatArray, IndexArray

TOLERANCE = 2e-6
"""Error of a float32 squared distance relative to |x|^2 + |c|^2. Largest seen: 7.4e-7 (D = 2048, 9 M pairs)."""

SLACK = 1e-5
"""Error allowed to the low-dimensional bound, relative to the same scale; includes V not being quite orthonormal."""

CENTRE_CHUNK = 512
"""Centres in one matrix product."""

FEW = 16
GROUP = 32
"""With so few centres, a matrix product takes so many rows at a time."""

PAIR_COST = 160
"""Time of a distance on its own over that of one inside a matrix product (measured: 160 to 240, D = 512)."""


def widen(d: FloatArray, sq_norm: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Interval that holds the true value of a float32 result d.

    Only |x|^2 is needed: |c| <= |x| + sqrt(d) gives |x|^2 + |c|^2 <= 3 |x|^2 + 2 d.
    """
    up = np.maximum(d, 0, dtype=np.float64)
    slip = up * (2 * TOLERANCE)
    slip += sq_norm * (3 * TOLERANCE)
    low = up - slip
    np.maximum(low, 0, out=low)
    up += slip
    return low, up


@dataclass(frozen=True, slots=True)
class Intervals:
    """What is known of n rows: their squared lengths, and the bounds, which are changed in place.

    sq_norm : (n,) float32; lower, upper : (n,) float64, upper is +inf where no centre has counted yet
    """

    sq_norm: FloatArray
    lower: FloatArray
    upper: FloatArray

    def at(self, key: IndexArray | slice) -> Intervals:
        """Those of some rows: a view for a slice, a copy for positions."""
        return Intervals(self.sq_norm[key], self.lower[key], self.upper[key])

    def put(self, key: IndexArray, part: Intervals) -> None:
        """Take back the bounds of a copy."""
        self.lower[key], self.upper[key] = part.lower, part.upper

    def narrow(self, d: FloatArray) -> None:
        """Account for one float32 squared distance of each row."""
        low, up = widen(d, self.sq_norm)
        np.minimum(self.lower, low, out=self.lower)
        np.minimum(self.upper, up, out=self.upper)


def tighten(
    read: Callable[[IndexArray | slice], FloatArray],
    sketch: FloatArray | None,
    known: Intervals,
    centres: Centres,
    first: int,
) -> None:
    """Bring n rows up to date with the centres from number `first` on.

    Parameters
    ----------
    read : placed rows (m, D) for positions among the n
    sketch : (n, k + 1), or None to compute every distance
    """
    last = len(centres)
    if first >= last or not len(known.upper):
        return
    if sketch is None or known.upper.max() == np.inf:
        stop = last if sketch is None else min(last, first + SKETCH_DIM)
        tighten_fully(read(slice(None)), known, centres, first, stop)
        first = stop
    if first == last or sketch is None:
        return
    bound = lower_bounds(sketch, known.sq_norm, known.upper, centres.probe[first:])
    hot = np.flatnonzero(bound.min(axis=1) < 0)
    if not len(hot):
        return
    x, part = read(hot), known.at(hot)
    if len(hot) < len(bound):
        bound = bound[hot]
    _tighten_suspects(x, part, centres, first, bound)
    known.put(hot, part)


def lower_bounds(sketch: FloatArray, sq_norm: FloatArray, upper: FloatArray, probe: FloatArray) -> FloatArray:
    """(n, m) lower bound of each squared distance minus the row's value: below 0 where a centre may be nearer."""
    rows = np.empty((len(upper), probe.shape[1]), dtype=np.float32)
    rows[:, :-2] = sketch
    rows[:, -2] = 1
    value = np.fmax(upper, -sq_norm)  # a row that is already picked has -inf
    rows[:, -1] = sq_norm - value - SLACK * (3 * sq_norm + 2 * value)
    bound: FloatArray = rows @ probe.T
    return bound


def tighten_fully(x: FloatArray, known: Intervals, centres: Centres, first: int, last: int) -> None:
    """Bring all n rows up to date with centres `first` to `last` - 1 by matrix products, whatever the bounds say.

    x : (n, D) placed rows; the others as in `tighten`
    """
    for start in range(first, last, CENTRE_CHUNK):
        stop = min(start + CENTRE_CHUNK, last)
        product = _products(x, centres.x[start:stop])
        product *= -2
        product += centres.sq_norm[start:stop]
        known.narrow(product.min(axis=1).astype(np.float64) + known.sq_norm)


def _products(x: FloatArray, centres: FloatArray) -> FloatArray:
    """x @ centres.T, (n, m). With few centres, rows go in small groups, which BLAS multiplies without copying them.

    Measured for 10,000 x 512 rows: 10 centres 2.6 ms instead of 4.6, 4 centres 1.4 instead of 3.5, 32 alike.
    """
    n = len(x) - len(x) % GROUP
    if len(centres) > FEW or not n or not x.flags.c_contiguous:
        return x @ centres.T
    out = np.empty((len(x), len(centres)), dtype=np.float32)
    np.matmul(x[:n].reshape(-1, GROUP, x.shape[1]), centres.T, out=out[:n].reshape(-1, GROUP, len(centres)))
    np.matmul(x[n:], centres.T, out=out[n:])
    return out


def _tighten_suspects(x: FloatArray, known: Intervals, centres: Centres, first: int, bound: FloatArray) -> None:
    """Compute the distances that may matter: the smallest bound of each row, then what is still below its value.

    Rows that keep many suspects take them all as one matrix product, which is `PAIR_COST` times cheaper a pair.
    """
    before = known.upper.copy()
    everyone = np.arange(len(x))
    _tighten_pairs(x, known, centres, first, everyone, bound.argmin(axis=1))
    suspect = bound < (known.upper - before)[:, None]
    suspect[everyone, bound.argmin(axis=1)] = False
    count = np.count_nonzero(suspect, axis=1)
    many = np.flatnonzero(count * PAIR_COST > bound.shape[1])
    if len(many):
        part = known.at(many)
        tighten_fully(x[many], part, centres, first, len(centres))
        known.put(many, part)
        suspect[many] = False
    row, column = np.nonzero(suspect)
    for start in range(0, len(row), CHUNK):
        here = slice(start, start + CHUNK)
        _tighten_pairs(x, known, centres, first, row[here], column[here])


def _tighten_pairs(
    x: FloatArray, known: Intervals, centres: Centres, first: int, row: IndexArray, column: IndexArray
) -> None:
    """Account for single (row, centre) pairs; a row may come several times."""
    dot = np.einsum("ij,ij->i", x[row], centres.x[first + column])
    sq_norm = known.sq_norm[row]
    low, up = widen(sq_norm + centres.sq_norm[first + column] - 2.0 * dot.astype(np.float64), sq_norm)
    np.minimum.at(known.lower, row, low)
    np.minimum.at(known.upper, row, up)
