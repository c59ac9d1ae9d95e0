"""D2 sampling (k-means++ draws) with stale envelopes: the exact law, a few passes over the pool.

Each pick is drawn with probability proportional to the squared distance to the nearest centre chosen so
far. That distance can only fall as centres are added, so a value computed earlier bounds it from above: draw
from the old values, compute the true one for the drawn rows only, and accept with probability new / old
(rejection sampling, hence exactly the current law). The pool is read again only when the old values have
become so loose that reading it is cheaper than more rejections.

Source: Arthur & Vassilvitskii, "k-means++", SODA 2007 (the law); Devroye, "Non-Uniform Random Variate
Generation", 1986, chapter II.3 (rejection).

The pool is a team of shards: `envelope.Envelope` around `vectors.PlainVectors` or `vectors.GradientVectors`. The driver
sees of a shard only counts, drawn rows and bounds, so shards may live in other processes; the picks do not depend on
how the pool is divided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from poolwise.kernels.envelope import EXPONENTS, ZERO
from poolwise.kernels.envelope_device import envelope_of
from poolwise.kernels.points import Points, join, nearest_sq, sq_distances
from poolwise.kernels.team import Here, Team
from poolwise.kernels.vectors import FLOPS, Vectors
from poolwise.progress import task
from poolwise.types import FloatArray, IndexArray

LOOP_VALUES = 2**17
"""Pools of at most so many numbers are sampled by the plain loop, one pass per pick."""

ROUND_DRAWS = 512
"""Most rows drawn together; their distances are one matrix product. Rounds hold a
quarter of the centres at most, because drawn rows are also compared with each other, and 64 at least."""

CALL_SECONDS = 2e-4
"""Rough time of a round's calls; like `vectors.FLOPS` a constant, so that picks never depend on the clock."""


@dataclass(frozen=True, slots=True)
class D2Draw:
    """What the sampler chose.

    positions : (count,) int64 positions within the shards taken together, in order of choice
    sq_distances : (count,) float64, squared distance to the nearest earlier centre when chosen; for the first
        pick without earlier centres its squared length
    sq_lengths : (count,) float64, squared length of each pick
    acceptance : share of the drawn rows that were accepted
    refreshes : passes over the pool after the first
    """

    positions: IndexArray
    sq_distances: FloatArray
    sq_lengths: FloatArray
    acceptance: float
    refreshes: int


class _Centres:
    """Centres in order of arrival, in memory that is reserved once."""

    def __init__(self, capacity: int, like: Points) -> None:
        self.h = np.empty((capacity, like.h.shape[1]), dtype=np.float32)
        self.e = None if like.e is None else np.empty((capacity, like.e.shape[1]), dtype=np.float32)
        self.sq = np.empty(capacity, dtype=np.float32)
        self.bias = like.bias
        self.count = 0
        self.seen = 0  # so many are accounted for in the envelopes

    def add(self, points: Points) -> None:
        part = slice(self.count, self.count + len(points))
        self.h[part], self.sq[part] = points.h, points.sq
        if self.e is not None and points.e is not None:
            self.e[part] = points.e
        self.count = part.stop

    def pending(self) -> Points:
        part = slice(self.seen, self.count)
        return Points(self.h[part], self.sq[part], None if self.e is None else self.e[part], None, self.bias)


def d2_sample(
    shards: Sequence[Vectors] | Team,
    count: int,
    rng: np.random.Generator,
    *,
    first: Literal["largest", "uniform"] = "uniform",
    given: Points | None = None,
    method: Literal["auto", "loop", "rejection"] = "auto",
) -> D2Draw:
    """Draw `count` distinct vectors, each with probability proportional to its squared distance to the nearest centre.

    Parameters
    ----------
    shards : the pool in order, split or whole, or a team of `Envelope`; how it is split does not change the picks
    count : 1 <= count <= number of vectors
    rng : source of all draws; same state, same picks
    first : the first pick where nothing is given: the longest vector (lowest position among equals), or uniform
    given : complete points that are centres from the start
    method : "rejection", "loop" (one pass per pick), or by size

    Returns
    -------
    D2Draw. When every vector left coincides with a centre, the lowest positions fill up.

    Raises
    ------
    InputError
        If squared lengths exceed float32.

    Notes
    -----
    Memory O(N) numbers, one block, and (count + len(given)) x width float32 for the centres. Time: one to
    three passes over the pool, as matrix products, and (draws x centres) pairs; a loop needs `count` passes.
    Vectors closer than 1e-6 of their length count as equal.
    """
    team = Here([envelope_of(vectors) for vectors in shards]) if isinstance(shards, Sequence) else shards
    facts = team.call("facts")
    n_rows = sum(rows for rows, _, _ in facts)
    small = n_rows * facts[0][1] <= LOOP_VALUES
    start = None if given is not None and len(given) else int(rng.integers(n_rows))
    if method == "loop" or (method == "auto" and small):
        return _loop(team, count, rng, start if first == "uniform" else None, given)
    return _Sampler(team, facts, count, rng, first, start, given).run()


class _Sampler:
    """One run of the rejection sampler: envelopes, centres, picks."""

    def __init__(
        self,
        team: Team,
        facts: Sequence[tuple[int, int, float]],
        count: int,
        rng: np.random.Generator,
        first: Literal["largest", "uniform"],
        start: int | None,
        given: Points | None,
    ) -> None:
        self.team = team
        self.offsets = np.cumsum([0, *(rows for rows, _, _ in facts)])
        self._counts: IndexArray | None = None
        self.count, self.rng = count, rng
        self.picks = np.empty(count, dtype=np.int64)
        self.distances = np.empty(count, dtype=np.float64)
        self.lengths = np.empty(count, dtype=np.float64)
        self.done = self.drawn = self.accepted = self.refreshes = 0
        self.share = 0.5  # estimated probability that a drawn row is accepted
        self.pair_seconds = 2 * facts[0][1] / FLOPS + 1.5e-9
        self.row_seconds = facts[0][2]
        self._begin(first, start, given)

    def _begin(self, first: Literal["largest", "uniform"], start: int | None, given: Points | None) -> None:
        if start is None and given is not None:
            near = given.at(slice(0, 64))
            self._everywhere("start", near)
            self.centres = _Centres(len(given) + self.count, given)
            self.centres.add(given)
            self.centres.seen = len(near)
            self.shortest = float(np.sqrt(given.sq.min()))
            return
        if first == "uniform" and start is not None:
            position = start
            opening = self._take(np.array([start]))
            self._everywhere("start", opening)
        else:
            tops = self._everywhere("start", None)
            winner = max(range(len(tops)), key=lambda s: (tops[s][0], -s))
            position = int(self.offsets[winner]) + tops[winner][1]
            opening = self._take(np.array([position]))
        self.centres = _Centres(self.count, opening)
        self.shortest = float(np.sqrt(opening.sq[0]))
        if first == "largest":
            self._everywhere("cap", self.shortest)
        self._accept(position, opening, float(opening.sq[0]))
        self.centres.seen = int(first == "uniform")

    def _everywhere(self, method: str, *arguments: Any) -> list[Any]:
        """Change all envelopes."""
        self._counts = None
        return self.team.call(method, *arguments)

    def run(self) -> D2Draw:
        """Draw until the batch is full."""
        with task("drawing", self.count) as work:
            work.advance(self.done)
            while self.done < self.count:
                before = self.done
                if not self._round():
                    self._fill_up()
                work.advance(self.done - before)
        share = self.accepted / self.drawn if self.drawn else 1.0
        return D2Draw(self.picks, self.distances, self.lengths, share, self.refreshes)

    def _round(self) -> bool:
        """Draw some rows, accept what the law says, and refresh if that pays. False if nothing can be drawn."""
        most = int(np.clip(self.centres.count // 4, 64, ROUND_DRAWS))
        wanted = int(np.clip(1.2 * (self.count - self.done) / self.share + 8, 16, most))
        positions, bounds, heights = self._propose(wanted)
        pending = self.centres.pending()
        if not len(positions):
            if len(pending):
                self._refresh()
            return len(pending) > 0
        points = self._take(positions)
        current = np.minimum(bounds, nearest_sq(points, pending)).astype(np.float64)
        current[np.isin(positions, self.picks[: self.done])] = 0
        self.share = max(float((current / bounds).mean()), 1e-4)
        mutual = sq_distances(points, points)
        before = self.done
        for j in range(len(positions)):
            if heights[j] < current[j]:
                self._accept(int(positions[j]), points.at(slice(j, j + 1)), float(current[j]))
                np.minimum(current, mutual[:, j], out=current)
                current[j] = 0
                if self.done == self.count:
                    break
        self.drawn += j + 1
        self.accepted += self.done - before
        if self.done == before:
            self._write_back(positions, current)
        self._tighten()
        return True

    def _propose(self, wanted: int) -> tuple[IndexArray, FloatArray, FloatArray]:
        """Draw positions with probability proportional to m; return them, m, and a uniform height below m."""
        if self._counts is None:
            self._counts = np.stack(self.team.call("histogram"))  # (shards, EXPONENTS)
            self._counts[:, 0] = 0  # rows with m = 0 are never drawn
        counts = self._counts
        widths = np.ldexp(1.0, np.arange(EXPONENTS) - ZERO)
        mass = np.cumsum(counts.sum(axis=0) * widths)
        if mass[-1] <= 0:
            return np.empty(0, dtype=np.int64), np.empty(0), np.empty(0)
        u, v = self.rng.random((2, 2 * wanted + 16))
        x = u * mass[-1]
        bins = np.minimum(np.searchsorted(mass, x, side="right"), np.searchsorted(mass, mass[-1]))
        below = np.where(bins > 0, mass[bins - 1], 0.0)
        ranks = np.minimum(((x - below) / widths[bins]).astype(np.int64), counts.sum(axis=0)[bins] - 1)
        upto = np.cumsum(counts, axis=0)[:, bins]  # (shards, draws)
        owner = (ranks >= upto).sum(axis=0)
        ranks -= np.where(owner > 0, upto[owner - 1, np.arange(len(bins))], 0)
        positions, m = np.empty(len(bins), dtype=np.int64), np.empty(len(bins))
        drawn = [np.flatnonzero(owner == s) for s in range(self.team.size)]
        found = self.team.call_each("members", [(bins[at], ranks[at]) for at in drawn])
        for at, (local, bounds), offset in zip(drawn, found, self.offsets, strict=False):
            positions[at], m[at] = local + offset, bounds
        heights = v * widths[bins]
        keep = np.flatnonzero(heights < m)[:wanted]
        return positions[keep], m[keep], heights[keep]

    def _take(self, positions: IndexArray) -> Points:
        owner = np.searchsorted(self.offsets, positions, side="right") - 1
        at = [np.flatnonzero(owner == s) for s in range(self.team.size)]
        parts = self.team.call_each("take", [(positions[at[s]] - self.offsets[s],) for s in range(self.team.size)])
        got = [points for points in parts if points is not None]
        return got[0] if len(got) == 1 else join(got).at(np.argsort(np.concatenate(at)))

    def _accept(self, position: int, point: Points, distance: float) -> None:
        self.picks[self.done], self.distances[self.done] = position, distance
        self.lengths[self.done] = point.sq[0]
        self.done += 1
        self.centres.add(point)

    def _tighten(self) -> None:
        """Lower the envelopes if that is worth its price. Looks at finished draws only, as the law demands."""
        left = self.count - self.done
        if not left:
            return
        pending = self.centres.pending()
        shortest = float(np.sqrt(pending.sq.min(initial=np.inf)))
        if shortest < 0.5 * self.shortest and self.share < 0.7:
            self.shortest = shortest
            self._everywhere("cap", shortest)
            self.share = 0.5  # the next round will tell
            return
        per_draw = CALL_SECONDS / 64 + 2 * self.row_seconds
        now = left / self.share * (per_draw + self.pair_seconds * (len(pending) + left / 2))
        fresh = left * (per_draw + self.pair_seconds * left / 2)
        if now - fresh > self.offsets[-1] * (self.row_seconds + self.pair_seconds * len(pending)):
            self._refresh()

    def _refresh(self) -> None:
        pending = self.centres.pending()
        self._everywhere("refresh", pending)
        self.centres.seen = self.centres.count
        self.refreshes += 1
        self.share = 0.8

    def _write_back(self, positions: IndexArray, current: FloatArray) -> None:
        """Remember what a fruitless round has computed, so that rows which equal a centre are drawn only once."""
        self._counts = None
        values = current.astype(np.float32)
        inside = [(positions >= start) & (positions < stop) for start, stop in pairwise(self.offsets)]
        own = [(positions[at] - start, values[at]) for at, start in zip(inside, self.offsets, strict=False)]
        self.team.call_each("lower", own)

    def _fill_up(self) -> None:
        """Every row left equals a centre: take the lowest positions."""
        free = np.ones(self.offsets[-1], dtype=bool)
        free[self.picks[: self.done]] = False
        rest = np.flatnonzero(free)[: self.count - self.done]
        self.lengths[self.done :] = self._take(rest).sq
        self.picks[self.done :], self.distances[self.done :] = rest, 0.0
        self.done = self.count


def _loop(team: Team, count: int, rng: np.random.Generator, start: int | None, given: Points | None) -> D2Draw:
    """Draw with one pass over the pool per pick; without `start` or `given`, the longest vector is first."""
    points = join([points for points in team.call("everything") if points is not None])
    picks = np.empty(count, dtype=np.int64)
    distances = np.zeros(count, dtype=np.float64)
    gap = np.full(len(points), np.inf)
    if given is not None and len(given):
        gap = nearest_sq(points, given).astype(np.float64)
        pick = _draw_one(gap, rng, picks[:0])
        distances[0] = gap[pick]
    else:
        pick = int(points.sq.argmax()) if start is None else start
        distances[0] = points.sq[pick]
    for i in range(count):
        picks[i] = pick
        np.minimum(gap, nearest_sq(points, points.at(slice(pick, pick + 1))), out=gap)
        gap[pick] = 0
        if i + 1 < count:
            pick = _draw_one(gap, rng, picks[: i + 1])
            distances[i + 1] = gap[pick]
    return D2Draw(picks, distances, points.sq[picks].astype(np.float64), 1.0, count - 1)


def _draw_one(gap: FloatArray, rng: np.random.Generator, taken: IndexArray) -> int:
    mass = np.cumsum(gap)
    if mass[-1] <= 0:
        return int(np.setdiff1d(np.arange(len(gap)), taken)[0])
    drawn = int(np.searchsorted(mass, rng.random() * mass[-1], side="right"))
    return min(drawn, int(np.searchsorted(mass, mass[-1])))  # rounding can reach past the end
