"""Upper bounds of squared distances, one a row, from which rows are drawn in proportion to their bound."""

from __future__ import annotations

import numpy as np

from poolwise.errors import InputError
from poolwise.kernels.points import Points, nearest_sq
from poolwise.kernels.vectors import Vectors, measure_all
from poolwise.types import FloatArray, IndexArray

EXPONENTS = 512
"""Number of bins; bin b holds values in [2^(b - 1 - ZERO), 2^(b - ZERO))."""

ZERO = 256


class Envelope:
    """The upper bounds m_i of one shard, in bins by power of two.

    Drawing with probability m_i is then a choice of a bin (weight: count times its power of two), a uniform
    member, and a rejection with probability below one half. It needs no running sums, so rounding in one row
    cannot shift the draws of others.
    """

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self.m = np.empty(len(vectors), dtype=np.float32)
        self.counts = np.zeros(EXPONENTS, dtype=np.int64)

    def facts(self) -> tuple[int, int, float]:
        """Say how many rows there are, how wide, and how long reading one takes (s)."""
        return len(self.vectors), self.vectors.width, self.vectors.row_seconds

    def start(self, first: Points | None) -> tuple[float, int]:
        """Read all rows; bound them by the distance to `first`, if given. Return the largest squared length."""
        best, best_position = -1.0, 0
        for start, points in self.vectors.measure():
            position = int(points.sq.argmax())
            if points.sq[position] > best:
                best, best_position = float(points.sq[position]), start + position
            if not np.isfinite(points.sq).all():
                raise InputError(
                    "squared lengths exceed the range of float32; expected embeddings below about 1e15. "
                    "Divide them by a constant."
                )
            self.m[start : start + len(points)] = np.inf if first is None else nearest_sq(points, first)
        if first is not None:
            self._sort()
        return best, best_position

    def cap(self, length: float) -> None:
        """Use that no row is farther than |g_i| + |g_c| from a centre of that length."""
        np.minimum(self.m, (np.sqrt(self.vectors.sq) + np.float32(length)) ** 2 * np.float32(1 + 1e-6), out=self.m)
        self._sort()

    def refresh(self, centres: Points) -> None:
        """Compare every row with the centres added since the last refresh."""
        for start, points in self.vectors.blocks(len(centres)):
            m = self.m[start : start + len(points)]
            np.minimum(m, nearest_sq(points, centres), out=m)
        self._sort()

    def lower(self, positions: IndexArray, values: FloatArray) -> None:
        """Put true values in place of bounds."""
        self.m[positions] = values
        self._sort()

    def _sort(self) -> None:
        bins = np.frexp(self.m)[1].astype(np.int16)
        bins += ZERO
        bins[self.m <= 0] = 0
        self.order = np.argsort(bins, kind="stable").astype(np.int64)
        self.counts = np.bincount(bins, minlength=EXPONENTS)
        self.starts = np.cumsum(self.counts) - self.counts

    def histogram(self) -> IndexArray:
        """Count the bounds of each bin, (EXPONENTS,)."""
        return self.counts

    def members(self, bins: IndexArray, ranks: IndexArray) -> tuple[IndexArray, FloatArray]:
        """Positions and bounds of members of bins."""
        positions = self.order[self.starts[bins] + ranks]
        return positions, self.m[positions]

    def take(self, positions: IndexArray) -> Points | None:
        """Gather complete points, or nothing if no position is given."""
        return self.vectors.take(positions) if len(positions) else None

    def everything(self) -> Points | None:
        """Measure and gather all points of a small shard."""
        measure_all(self.vectors)
        return self.take(np.arange(len(self.vectors)))
