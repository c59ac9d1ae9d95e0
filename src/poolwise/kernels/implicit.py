"""Greedy picks by values that only fall, of rows in a space too wide to build: k-center and determinants.

Source: Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985 (farthest first); Minoux,
"Accelerated greedy algorithms for maximizing submodular set functions", 1978 (stale bounds).

Rows are known by inner products only (`Vectors`), so they may be products of factors that are never multiplied out.
A value computed before some picks bounds the present one from above. The rows with the largest bounds are held in
memory and kept up to date; a pick is final when no other row's bound comes before it. The picks are those of the
plain loop over all rows: larger value first, then lower position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from poolwise.kernels.kcenter_window import foremost
from poolwise.progress import task
from poolwise.types import FloatArray, IndexArray

ACTIVE_BYTES = 24 * 2**20
"""Memory for the rows that are kept up to date after every pick."""

CHUNK = 1024
"""Rows brought up to date together."""

CENTRES = 256
"""Centres compared with them at a time."""

BITS = 40
"""Values are rounded to so many bits below the row's own squared length: sums in another order give the same."""

P = TypeVar("P", bound="PointSet")
P_co = TypeVar("P_co", bound="PointSet", covariant=True)
P_contra = TypeVar("P_contra", bound="PointSet", contravariant=True)


class PointSet(Protocol):
    """A few rows in memory. sq : (n,) float64 squared lengths."""

    @property
    def sq(self) -> FloatArray: ...
    def __len__(self) -> int: ...
    def at(self: P, key: IndexArray) -> P:
        """Take some of them."""
        ...

    def inner(self: P, other: P) -> FloatArray:
        """Inner products (n, m) float64 with other rows."""
        ...

    def joined(self: P, others: Sequence[P]) -> P:
        """Put more rows behind these."""
        ...


class Vectors(Protocol[P_co]):
    """All rows, read by position. row_bytes : memory of one row of a `PointSet`."""

    row_bytes: int

    def __len__(self) -> int: ...
    def take(self, positions: IndexArray) -> P_co:
        """Read some rows, sorted positions."""
        ...


class Rule(Protocol[P_contra]):
    """What a row is worth, given the picks; it never grows."""

    def current(self, points: P_contra) -> tuple[FloatArray, Any]:
        """Values (n,) of rows after all picks so far, and what `after` needs to go on from there (or None)."""
        ...

    def after(self, points: P_contra, values: FloatArray, memory: Any) -> None:
        """Lower the values, in place, by the newest pick."""
        ...

    def add(self, point: P_contra, memory: Any, at: int) -> None:
        """Take one row as picked; `memory` is that of the active rows, of which it is number `at`."""
        ...


def quantum(sq: FloatArray) -> FloatArray:
    """Steps in which the values of rows of these squared lengths are counted."""
    _, exponent = np.frexp(sq)
    return np.asarray(np.ldexp(1.0, np.maximum(exponent - BITS, -1000)))


class FarthestFirst(Generic[P]):
    """Squared distance to the nearest centre; the origin counts as one where `from_origin`."""

    def __init__(self, *, from_origin: bool = True) -> None:
        self.from_origin = from_origin
        self.centres: list[P] = []
        self._pending: list[P] = []

    def current(self, points: P) -> tuple[FloatArray, None]:
        values = points.sq.copy() if self.from_origin else np.full(len(points), np.inf)
        if self._pending:
            self._settle()
        for centre in self.centres:
            self._lower(points, values, centre)
        return values, None

    def after(self, points: P, values: FloatArray, memory: None) -> None:
        self._lower(points, values, self._pending[-1])

    def add(self, point: P, memory: None = None, at: int = 0) -> None:
        self._pending.append(point)

    def _settle(self) -> None:
        """Put the newest centres together, so that they are compared by matrix products."""
        loose = [*self.centres[-1:], *self._pending] if self.centres and len(self.centres[-1]) < CENTRES else []
        if loose:
            del self.centres[-1]
        loose = loose or self._pending
        self.centres.append(loose[0].joined(loose[1:]))
        self._pending = []

    @staticmethod
    def _lower(points: P, values: FloatArray, centre: P) -> None:
        d = points.inner(centre)  # (n, m)
        d *= -2
        d += centre.sq
        nearest = d.min(axis=1) + points.sq
        step = quantum(points.sq)
        np.minimum(values, np.rint(np.maximum(nearest, 0) / step) * step, out=values)


def pick_lazily(vectors: Vectors[P], rule: Rule[P], upper: FloatArray, count: int) -> tuple[IndexArray, FloatArray]:
    """Pick the row of the largest value `count` times; values fall as rows are picked.

    Parameters
    ----------
    vectors : n rows
    rule : their values
    upper : (n,) upper bounds of the values before the first pick, overwritten; -inf keeps a row out
    count : 1 <= count <= number of rows that are not kept out

    Returns
    -------
    (count,) int64 positions in order of choice, and (count,) float64 values. Ties go to the lowest position.

    Notes
    -----
    Memory 8 B a row, `ACTIVE_BYTES`, and the picks. Time: each pick against the active rows, and each row whose
    bound comes first against the picks made since.
    """
    picks, values = np.empty(count, dtype=np.int64), np.empty(count)
    active = _Active(vectors, rule, upper)
    with task("choosing rows", count) as work:
        for number in range(count):
            picks[number], values[number] = active.pick()
            work.advance()
    return picks, values


class _Active(Generic[P]):
    """The foremost rows, up to date with all picks."""

    def __init__(self, vectors: Vectors[P], rule: Rule[P], upper: FloatArray) -> None:
        self.vectors, self.rule, self.upper = vectors, rule, upper
        self.capacity = int(min(len(upper), max(256, ACTIVE_BYTES // vectors.row_bytes)))
        self.pos = np.empty(0, dtype=np.int64)
        self.values: FloatArray = np.empty(0)
        self.rest, self.rest_pos = np.inf, -1

    def pick(self) -> tuple[int, float]:
        """Pick the best row and tell the rule."""
        best = self._best()
        while best < 0:
            self._refill()
            best = self._best()
        pos, value = int(self.pos[best]), float(self.values[best])
        self.rule.add(self.points.at(np.array([best])), self.memory, best)
        self.values[best] = self.upper[pos] = -np.inf
        self.rule.after(self.points, self.values, self.memory)
        return pos, value

    def _best(self) -> int:
        """Place of the best active row, or -1 if a row outside may come before it."""
        if not len(self.pos):
            return -1
        best = int(self.values.argmax())  # the lowest position among equals: positions ascend
        value, pos = self.values[best], self.pos[best]
        ahead = value > self.rest or (value == self.rest and pos < self.rest_pos)
        return best if ahead and value > -np.inf else -1

    def _refill(self) -> None:
        np.minimum(self.upper[self.pos], self.values, out=self.values)
        self.upper[self.pos] = self.values
        reach = self.capacity
        while True:
            pos, rest, rest_pos = foremost(self.upper, reach)
            if reach > self.capacity:
                self._catch_up(pos)
                kept, inside, at = foremost(self.upper[pos], self.capacity)
                if at >= 0 and (inside > rest or (inside == rest and pos[at] < rest_pos)):
                    rest, rest_pos = inside, int(pos[at])
                pos = pos[kept]
            self.pos, self.rest, self.rest_pos = pos, rest, rest_pos
            self.points = self.vectors.take(pos)
            self.values, self.memory = self.rule.current(self.points)
            self.values[self.upper[pos] == -np.inf] = -np.inf
            self.upper[pos] = self.values
            if self._best() >= 0 or reach >= len(self.upper):
                return
            reach = min(4 * reach, len(self.upper))

    def _catch_up(self, pos: IndexArray) -> None:
        for start in range(0, len(pos), CHUNK):
            here = pos[start : start + CHUNK]
            here = here[self.upper[here] > -np.inf]
            if len(here):
                self.upper[here], _ = self.rule.current(self.vectors.take(here))
