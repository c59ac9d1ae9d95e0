"""Upper bounds of squared distances, one a row, from which rows are drawn in proportion to their bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from poolwise.errors import InputError
from poolwise.kernels.edges import AT_ONCE, longest, near_edges
from poolwise.kernels.points import Points, nearest_sq
from poolwise.kernels.vectors import Vectors, measure_all
from poolwise.types import FloatArray, IndexArray

EXPONENTS = 512
"""Number of bins; bin b holds values in [2^(b - 1 - ZERO), 2^(b - ZERO))."""

ZERO = 256

LONGEST = np.finfo(np.float32).max / 4
"""Largest squared length: |a - b|^2 is at most twice the sum of two."""


class Envelope:
    """The upper bounds m_i of one shard, in bins by power of two.

    Drawing with probability m_i is then a choice of a bin (weight: count times its power of two), a uniform
    member, and a rejection with probability below one half. It needs no running sums, and bounds so near the edge
    of a bin that rounding decides are settled in float64 (`edges`): rounding in one row cannot shift the draws of
    others.
    """

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self.m = np.empty(len(vectors), dtype=np.float32)
        self.counts = np.zeros(EXPONENTS, dtype=np.int64)

    def facts(self) -> tuple[int, int, float]:
        """Say how many rows there are, how wide, and how long reading one takes (s)."""
        return len(self.vectors), self.vectors.width, self.vectors.row_seconds

    def start(self, first: Points | None) -> tuple[float, int]:
        """Read all rows and bound them by the distance to `first`; without it, find the longest: |g|^2, position."""
        for start, sq, near in self.measured(first):
            self.m[start : start + len(sq)] = np.inf if near is None else near
        if first is None:
            return longest(self.vectors)
        self._settle(None, lambda points: nearest_sq(points, first))
        self._sort()
        return -1.0, -1

    def measured(self, first: Points | None) -> Iterator[tuple[int, FloatArray, FloatArray | None]]:
        """Read all rows: position of the first, squared lengths, and squared distances to the nearest of `first`."""
        for start, points in self.vectors.measure():
            refuse_overflow(points.sq)
            yield start, points.sq, None if first is None else nearest_sq(points, first)

    def compared(self, centres: Points) -> Iterator[tuple[int, FloatArray]]:
        """Read all rows again: position of the first, and squared distances to the nearest centre."""
        for start, points in self.vectors.blocks(len(centres)):
            yield start, nearest_sq(points, centres)

    def cap(self, length: float) -> None:
        """Use that no row is farther than |g_i| + |g_c| from a centre of that length."""
        before = self.m.copy()
        np.minimum(self.m, (np.sqrt(self.vectors.sq) + np.float32(length)) ** 2 * np.float32(1 + 1e-6), out=self.m)
        self._settle(before, lambda points: (np.sqrt(points.sq) + length) ** 2 * (1 + 1e-6))
        self._sort()

    def refresh(self, centres: Points) -> None:
        """Compare every row with the centres added since the last refresh."""
        before = self.m.copy()
        for start, near in self.compared(centres):
            m = self.m[start : start + len(near)]
            np.minimum(m, near, out=m)
        self._settle(before, lambda points: nearest_sq(points, centres))
        self._sort()

    def lower(self, positions: IndexArray, values: FloatArray) -> None:
        """Put true values in place of bounds."""
        self.m[positions] = values
        self._sort()

    def _settle(self, before: FloatArray | None, exact: Callable[[Points], FloatArray]) -> None:
        """Compute bounds that have come near the edge of a bin again in float64.

        before : (n,) what the bounds were; None for infinite
        exact : from float64 vectors, what the bounds were lowered to
        """
        if not self.vectors.complete:
            return
        at = near_edges(self.m, self.vectors.sq)
        at = at if before is None else at[self.m[at] < before[at]]
        for start in range(0, len(at), AT_ONCE):
            here = at[start : start + AT_ONCE]
            value = exact(self.vectors.exact(here))
            self.m[here] = value if before is None else np.minimum(before[here], value)

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
        refuse_overflow(self.vectors.sq)
        return self.take(np.arange(len(self.vectors)))


def refuse_overflow(sq: FloatArray) -> None:
    """Raise InputError if some squared length is so large that the square of a distance may not be finite."""
    if not (sq <= LONGEST).all():
        raise InputError(
            "squared lengths exceed the range of float32; expected embeddings below about 1e15. "
            "Divide them by a constant."
        )
