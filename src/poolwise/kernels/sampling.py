"""Choosing rows by score: the top B, streamed, with ties settled the same way everywhere.

A pass over the pool scores rows in float32. Rounding there may differ with the size of a block or the
number of threads, so rows near the cut are kept and scored again in float64, and that decides.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from poolwise.errors import InputError
from poolwise.kernels import coarse, scores_device
from poolwise.kernels.blocks import Key, LinearLogits, as_key, block_rows_for, check_block, iter_keys, stored
from poolwise.progress import task
from poolwise.types import PROBABILITIES, Array, BoolArray, FloatArray, IndexArray, Rows

TIE = 1e-12
"""Scores closer than this, relative to the largest, are equal: below it lies the rounding of float64."""

DENSE = 0.75
"""Where more than this share of a range of rows is wanted, the whole range is read: slices read faster."""

SAMPLE = 64
"""Rows scored in both precisions before a pass, to learn how exact float32 is on this data."""

SMALL = 16 * SAMPLE
"""Up to so many rows are all scored in float64: the sample would hold them all."""

SCREEN_BYTES = 2**22
"""What is scored between two looks at what it takes to be among the best, where a score can be screened."""

FloatScore = Callable[..., FloatArray]


@dataclass(frozen=True, slots=True)
class Screened:
    """A score that costs less for rows that cannot be among the best.

    score : as `stream_top` wants it
    above : called with a floor before the blocks; rows that score below the floor may get any lower value than it,
        all others get what `score` gives them; None if that costs as much as `score`
    there : the same score of (n, C) logits on a device, if it can be had (`scores_device`)
    misses : called with a floor and `coarse.Bounds` of the logits of rows; says which of them surely score below it,
        if that can be said. Then most rows of a head are ruled out by coarse logits
    mass : whether that wants `Bounds.mass`
    """

    score: FloatScore
    above: FloatScore | None = None
    there: Callable[[Any], Any] | None = None
    misses: Callable[[float, coarse.Bounds], BoolArray] | None = None
    mass: bool = False

    def __call__(self, **blocks: Array) -> FloatArray:
        return self.score(**blocks)

    def from_floor(self, floor: float, **blocks: Array) -> FloatArray:
        """Score rows as `above` does."""
        return self.score(**blocks) if self.above is None else self.above(floor, **blocks)


@dataclass(frozen=True, slots=True)
class Judged:
    """A score of given probabilities that sees on its way whether they are any, so that they are read once.

    score : as `stream_top` wants it
    judge : the same, but NaN where a row may hold NaN, inf or no probabilities; a block that has such rows is looked at
        more closely, and scored again by `score` if they are fine
    error : no float32 score of probabilities is farther from its float64 value; None where that depends on the data
    """

    score: FloatScore
    judge: FloatScore
    error: float | None = None

    def __call__(self, **blocks: Array) -> FloatArray:
        return self.score(**blocks)


def stream_scores(
    score: FloatScore, rows: Mapping[str, Rows], indices: IndexArray, dtype: DTypeLike = np.float64
) -> FloatArray:
    """Score rows by blocks: `score` gets one (n, ...) block of each array by keyword and returns (n,).

    Returns
    -------
    (len(indices),) float64, in the order of `indices`.

    Raises
    ------
    InputError
        If a score is NaN; the row is named.
    """
    scores = np.empty(len(indices), dtype=np.float64)
    for start, _, values in _scored(score, rows, indices, dtype):
        scores[start : start + len(values)] = values
    return scores


def stream_top(
    score: FloatScore,
    rows: Mapping[str, Rows],
    indices: IndexArray,
    count: int,
    exact: Callable[[IndexArray], FloatArray] | None = None,
) -> tuple[IndexArray, FloatArray]:
    """Keep the `count` rows with the highest scores; better score first, then lower pool index.

    Parameters
    ----------
    score : gets one (n, ...) float32 or float64 block of each array by keyword and returns (n,) scores; `Screened` if
        most rows can be ruled out for less
    rows : arrays to stream
    indices : (n,) int64 pool indices, sorted
    count : 1 <= count <= n
    exact : float64 scores of (n,) sorted pool indices, the same as `score` gives, where the caller has use for more of
        what comes up there

    Returns
    -------
    (count,) int64 pool indices and (count,) float64 scores, best first.

    Raises
    ------
    InputError
        If a score is NaN; the row is named.

    Notes
    -----
    One pass in float32 and O(count) rows again in float64; memory one block and O(count).
    """

    def values(chosen: IndexArray, slots: IndexArray) -> NDArray[np.float64]:
        ordered, back = np.unique(chosen, return_inverse=True)
        known = stream_scores(score, rows, ordered) if exact is None else exact(ordered)
        return np.asarray(-known[back], dtype=np.float64)

    if 2 * count >= len(indices) or len(indices) <= SMALL:
        scores = stream_scores(score, rows, indices)
        order = best_first(scores, indices, count)
        return indices[order], scores[order]

    def offer_all(lists: Shortlists) -> None:
        with task("scoring", len(indices)) as work:
            for _, pool, values in _scored(score, rows, indices, np.float32, lambda: -lists.limit_of(0)):
                lists.offer(pool, -values[:, None])
                work.advance(len(pool))

    depth = min(count + count // 4 + SAMPLE, len(indices))  # rows to spare, should float32 be worse than in the sample
    slack, guess = _learned(score, rows, indices, depth)
    lists = fill(offer_all, np.array([depth]), values, slack, first=np.array([count]), guess=guess)
    found, distances = lists.of(0)
    return found, -distances


def _learned(
    score: FloatScore, rows: Mapping[str, Rows], indices: IndexArray, depth: int
) -> tuple[FloatArray, FloatArray | None]:
    """Tolerance (1,) of float32 scores, and for a `Screened` score a value (1,) well below that of rank `depth`.

    Both come from a sample of the rows, unless the score knows its error.
    """
    if isinstance(score, Judged) and score.error is not None and _given(rows):
        return np.array([score.error]), None
    sample = indices[:: len(indices) // SMALL + 1]
    rough = stream_scores(score, rows, sample, np.float32)
    best = np.sort(np.argsort(-rough, kind="stable")[:SAMPLE])  # the error near the cut is the one that matters
    slack = sampled_tolerance(rough[best, None], stream_scores(score, rows, sample[best])[:, None])
    place = 2 * depth * len(sample) // len(indices) + 16
    guess = isinstance(score, Screened) and place < len(rough)
    return slack, np.sort(-rough)[place] + 2 * slack if guess else None


def best_first(scores: FloatArray, indices: IndexArray, count: int) -> IndexArray:
    """Positions of the `count` highest scores; better score first, then lower pool index.

    Scores that differ by rounding only (`TIE`) count as equal.
    """
    order = np.lexsort((indices, -scores))
    group = tie_groups(-scores[order])
    settled: IndexArray = order[np.lexsort((indices[order], group))]
    return settled[:count]


def tie_groups(ascending: FloatArray) -> IndexArray:
    """Number the groups of equal values in sorted values: neighbours closer than TIE share one."""
    finite = np.abs(ascending[np.isfinite(ascending)])
    groups = np.zeros(len(ascending), dtype=np.int64)
    groups[1:] = np.cumsum(_apart(ascending, TIE * finite.max(initial=0)))
    return groups


def _apart(ascending: FloatArray, slack: FloatArray | float) -> BoolArray:
    """Whether each value but the first differs from the one before it by more than rounding, (n - 1,)."""
    before, after = ascending[:-1], ascending[1:]
    with np.errstate(invalid="ignore"):  # inf - inf
        return np.asarray(~((after - before <= slack) | (after == before)))


class Shortlists:
    """The `depth` rows with the smallest values of each of S slots, exactly, in O(sum of depths) memory.

    Rows are offered with float32 values; whatever could still belong to a list is kept, and `exact` computes the
    float64 values that decide. After `settle(depths)`, `of(slot)` is the beginning of a list: smaller value first,
    then lower pool index.

    Parameters
    ----------
    depths : (S,) int64 >= 0
    tolerance : (S,) float, largest error expected in the offered values
    exact : called with (n,) pool indices and (n,) slots; returns (n,) float64 values
    guess : (S,) float, values above it are not expected to enter a list; default +inf. A wrong one costs another pass.
    """

    def __init__(
        self,
        depths: IndexArray,
        tolerance: FloatArray,
        exact: Callable[[IndexArray, IndexArray], NDArray[np.float64]],
        guess: FloatArray | None = None,
    ) -> None:
        self.depths = depths
        self.tolerance = tolerance
        self.error = np.zeros(len(depths))
        self._exact = exact
        self._limit = np.where(depths > 0, np.inf if guess is None else guess, -np.inf)  # above it nothing can enter
        self._pending: list[tuple[IndexArray, IndexArray, NDArray[np.float64]]] = []
        self._n_pending = 0
        self._slot = np.empty(0, dtype=np.int64)
        self._index = np.empty(0, dtype=np.int64)
        self._value = np.empty(0, dtype=np.float64)
        self._sharp = np.empty(0, dtype=bool)
        self._room = int(depths.sum()) // 2 + 512 if len(depths) == 1 else int(2 * depths.sum()) + 1024
        self.trusted = True
        self._lists: dict[int, tuple[IndexArray, NDArray[np.float64]]] = {}

    def offer(self, indices: IndexArray, values: FloatArray) -> None:
        """Offer (n,) pool indices with their (n, S) values; +inf is a value like others."""
        if len(indices) == 0:
            return
        if np.isposinf(self._limit).any() and len(indices) > self.depths.max():
            self._limit = np.minimum(self._limit, self._limit_within(values))
        inside = np.flatnonzero(values <= self._limit.astype(values.dtype))
        position, slot = np.divmod(inside, len(self.depths))
        if not len(position):
            return
        self._pending.append((slot, indices[position], values[position, slot].astype(np.float64)))
        self._n_pending += len(position)
        if self._n_pending > self._room:
            self._compact()

    def limit_of(self, slot: int) -> float:
        """Value above which a row cannot enter a list any more; it only falls."""
        return float(self._limit[slot])

    def settle(self, depths: IndexArray) -> None:
        """Make the first `depths` (S,) rows of each list exact; call it again to read further down.

        Sets `trusted`. It is False if float32 values, or a guess, were so far off that a row which was not kept might
        belong to a list; `tolerance` then says what another pass needs.
        """
        if self._pending:
            self._compact()
        wanted = np.minimum(depths, self.depths)
        while True:
            near, _ = self._within(wanted)
            self._sharpen(near)
            if np.all(2 * self.error <= self.tolerance):
                break
            self.tolerance = np.where(2 * self.error <= self.tolerance, self.tolerance, 4 * self.error)
        order = near[np.lexsort((self._index[near], self._groups(near), self._slot[near]))]
        order = order[self._rank(self._slot[order]) < wanted[self._slot[order]]]
        edges = np.searchsorted(self._slot[order], np.arange(len(wanted) + 1))
        self.trusted = True
        for slot, (start, stop) in enumerate(pairwise(edges)):
            values = self._value[order[start:stop]]
            self._lists[slot] = self._index[order[start:stop]], values
            missing = len(values) < wanted[slot] and self._limit[slot] < np.inf
            if missing or (len(values) and not values.max() + self.tolerance[slot] <= self._limit[slot]):
                self.trusted = False

    def of(self, slot: int) -> tuple[IndexArray, NDArray[np.float64]]:
        """Pool indices and values of one list as far as it is settled, best first."""
        return self._lists[slot]

    def _limit_within(self, values: FloatArray) -> NDArray[np.float64]:
        """Upper bound on what enters a list, from one block alone."""
        limit = np.full(len(self.depths), np.inf)
        columns = np.ascontiguousarray(values.T)  # (S, n)
        for depth in np.unique(self.depths[self.depths > 0]):
            same = np.flatnonzero(self.depths == depth)
            limit[same] = np.partition(columns[same], depth - 1, axis=1)[:, depth - 1]
        return self._widened(limit + 2 * self.tolerance)

    @staticmethod
    def _widened(limit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Leave room for the rounding of a comparison in float32."""
        return limit + 1e-6 * np.abs(np.where(np.isfinite(limit), limit, 0))

    def _compact(self) -> None:
        """Merge what is pending, and drop what cannot belong to a list any more."""
        slots, indices, values = zip(*self._pending, strict=True)
        self._slot = np.concatenate([self._slot, *slots])
        self._index = np.concatenate([self._index, *indices])
        self._value = np.concatenate([self._value, *values])
        self._sharp = np.concatenate([self._sharp, np.zeros(self._n_pending, dtype=bool)])
        self._pending, self._n_pending = [], 0
        self._prune()
        counts = np.bincount(self._slot, minlength=len(self.depths))
        crowded = counts > 4 * self.depths + 64
        if crowded.any():
            self._sharpen(np.flatnonzero(crowded[self._slot]))
            self._prune()

    def _prune(self) -> None:
        kept, cut = self._within(self.depths)
        kept = kept[self._beats_ties(kept)]
        self._slot, self._index = self._slot[kept], self._index[kept]
        self._value, self._sharp = self._value[kept], self._sharp[kept]
        self._limit = np.minimum(self._limit, self._widened(cut + self.tolerance))

    def _doubt(self) -> NDArray[np.float64]:
        return np.where(self._sharp, 0.0, self.tolerance[self._slot])

    def _within(self, depths: IndexArray) -> tuple[IndexArray, NDArray[np.float64]]:
        """Positions of rows whose smallest possible value is within the depth-th largest possible one of their slot.

        Also returns that value, (S,): inf where a slot has fewer rows, -inf where it wants none.
        """
        doubt = self._doubt()
        worst = self._value + doubt
        order = np.lexsort((worst, self._slot))
        at_depth = order[self._rank(self._slot[order]) == depths[self._slot[order]] - 1]
        cut = np.where(depths > 0, np.inf, -np.inf)
        cut[self._slot[at_depth]] = worst[at_depth]
        finite = np.abs(self._value[np.isfinite(self._value)])
        return np.flatnonzero(self._value - doubt <= cut[self._slot] + 4 * TIE * finite.max(initial=0)), cut

    def _beats_ties(self, kept: IndexArray) -> BoolArray:
        """Which of the kept rows stay: exact ones beyond the depth go, or many equal rows would pile up."""
        good = np.ones(len(kept), dtype=bool)
        sharp = np.flatnonzero(self._sharp[kept])
        rows = kept[sharp]
        order = np.lexsort((self._index[rows], self._groups(rows), self._slot[rows]))
        slot = self._slot[rows[order]]
        good[sharp[order[self._rank(slot) >= self.depths[slot]]]] = False
        return good

    def _sharpen(self, rows: IndexArray) -> None:
        """Replace float32 values by exact ones, and note how far off they were."""
        todo = rows[~self._sharp[rows]]
        if not len(todo):
            return
        values = self._exact(self._index[todo], self._slot[todo])
        with np.errstate(invalid="ignore"):
            off = np.abs(values - self._value[todo])
        np.maximum.at(self.error, self._slot[todo], np.where(values == self._value[todo], 0.0, off))
        self._value[todo] = values
        self._sharp[todo] = True

    def _groups(self, where: IndexArray) -> IndexArray:
        """Tie groups of exact values, numbered in the order of the values within each slot."""
        slots, values = self._slot[where], self._value[where]
        order = np.lexsort((values, slots))
        slots, values = slots[order], values[order]
        scale = np.zeros(len(self.depths))
        np.maximum.at(scale, slots, np.where(np.isfinite(values), np.abs(values), 0))
        groups = np.zeros(len(where), dtype=np.int64)
        groups[order[1:]] = np.cumsum((slots[1:] != slots[:-1]) | _apart(values, TIE * scale[slots[1:]]))
        return groups

    @staticmethod
    def _rank(sorted_slots: IndexArray) -> IndexArray:
        """Rank of each row within its run of equal slots."""
        position = np.arange(len(sorted_slots))
        first = np.concatenate([[True], sorted_slots[1:] != sorted_slots[:-1]]) if len(position) else position == 0
        return position - np.maximum.accumulate(np.where(first, position, 0))


def fill(
    offer_all: Callable[[Shortlists], None],
    depths: IndexArray,
    exact: Callable[[IndexArray, IndexArray], NDArray[np.float64]],
    tolerance: FloatArray,
    first: IndexArray | None = None,
    guess: FloatArray | None = None,
) -> Shortlists:
    """Fill short lists by one pass, or by another if float32, or a guess, turned out less accurate than expected.

    Parameters
    ----------
    offer_all : offers every row of the pool to the lists it is given
    depths : (S,) int64, length of each list
    exact : (n,) pool indices, (n,) slots -> (n,) float64 values
    tolerance : (S,) float, error expected in the offered values, from `sampled_tolerance`
    first : (S,) int64, how much of each list to settle at once; default all of it
    guess : see `Shortlists`; only for the first pass
    """
    slack = tolerance
    while True:
        lists = Shortlists(depths, slack, exact, guess)
        offer_all(lists)
        lists.settle(depths if first is None else first)
        if lists.trusted:
            return lists
        slack, guess = lists.tolerance, None


def sampled_tolerance(rough: FloatArray, exact: FloatArray) -> NDArray[np.float64]:
    """Estimate, from a sample, how far float32 values may be off: 16 times the worst error seen, and generously so.

    A few rows more to score again cost little; too small an estimate costs another pass.

    Parameters
    ----------
    rough, exact : (n, S) values of the same rows in float32 and in float64 arithmetic

    Returns
    -------
    (S,) float64, at least 2e-4 of the largest value of each column.
    """
    finite = np.isfinite(exact)
    with np.errstate(invalid="ignore"):
        error = np.where(finite, np.abs(rough - exact), 0).max(axis=0)
    scale = np.where(finite, np.abs(exact), 0).max(axis=0)
    return np.asarray(np.maximum(16 * error, 2e-4 * scale))


def row_blocks(
    rows: Mapping[str, Rows], indices: IndexArray, dtype: DTypeLike, *, block_rows: int | None = None
) -> Iterator[tuple[int, IndexArray, dict[str, Array], Key]]:
    """Stream blocks of several arrays at the same rows.

    Yields
    ------
    start : position in `indices` of the first row
    pool : (n,) pool indices
    blocks : name -> (m, ...) rows, m >= n; a few rows more than asked for where reading a whole range is faster
    local : where in the blocks the n rows are

    Raises
    ------
    InputError
        If a row that was read holds NaN or inf, or probabilities that are none; the row is named.
    """
    for start, pool, blocks, key in _read(rows, indices, dtype, block_rows):
        _check(rows, blocks, key)
        yield start, pool, blocks, _local(pool, key)


def _read(
    rows: Mapping[str, Rows], indices: IndexArray, dtype: DTypeLike, block_rows: int | None = None
) -> Iterator[tuple[int, IndexArray, dict[str, Array], Key]]:
    """Stream position, pool indices, blocks and the key by which the blocks were read."""
    step = block_rows or min((block_rows_for(value) for value in rows.values()), default=max(len(indices), 1))
    parts = [(start, indices[start : start + step]) for start in range(0, len(indices), step)]
    keys = [_range_of(pool) for _, pool in parts]
    for (start, pool), key, blocks in zip(parts, keys, iter_keys(rows, keys, dtype), strict=True):
        yield start, pool, blocks, key


def _check(rows: Mapping[str, Rows], blocks: Mapping[str, Array], key: Key) -> None:
    given = range(key.start, key.stop) if isinstance(key, slice) else key
    for name, block in blocks.items():
        _, origin = stored(rows[name], name)
        check_block(origin, block, given, probabilities=origin in PROBABILITIES and origin == name)


def _local(pool: IndexArray, key: Key) -> Key:
    """Where in blocks that were read by a key the rows of `pool` are."""
    return pool - key.start if isinstance(key, slice) and key.stop - key.start > len(pool) else slice(None)


def _range_of(pool: IndexArray) -> Key:
    low, high = int(pool[0]), int(pool[-1]) + 1
    if len(pool) >= DENSE * (high - low) and np.all(pool[1:] > pool[:-1]):
        return slice(low, high)
    return as_key(pool)


def _scored(
    score: FloatScore,
    rows: Mapping[str, Rows],
    indices: IndexArray,
    dtype: DTypeLike,
    floor: Callable[[], float] | None = None,
) -> Iterator[tuple[int, IndexArray, FloatArray]]:
    """Stream (position of the first row, pool indices, scores); with a floor, what is below it may be screened out."""
    there = scores_device.twin(score, rows, dtype)
    if there is not None:
        for start, values in scores_device.scored(*there, indices):
            pool = indices[start : start + len(values)]
            yield start, pool, _numbers(values, pool, rows)
        return
    logits = rows.get("logits") if len(rows) == 1 else None
    if floor is not None and isinstance(score, Screened) and score.misses and isinstance(logits, LinearLogits):
        head = coarse.head_for(logits, len(indices))
        if head is not None:
            yield from _coarsely(score, logits, head, indices, floor)
            return
    for start, pool, blocks, key in _read(rows, indices, dtype):
        local = _local(pool, key)
        if floor is None or not isinstance(score, Screened):
            yield start, pool, _numbers(_checked_scores(score, rows, blocks, key)[local], pool, rows)
            continue
        _check(rows, blocks, key)
        step = max(1, SCREEN_BYTES // max(1, sum(block[:1].nbytes for block in blocks.values())))
        for low in range(0, max(map(len, blocks.values())), step):
            values = score.from_floor(floor(), **{name: block[low : low + step] for name, block in blocks.items()})
            first, last = low, low + step
            if isinstance(local, np.ndarray):  # where the wanted rows of this piece are
                first, last = np.searchsorted(local, [first, last])
                values = values[local[first:last] - low]
            yield start + first, pool[first:last], _numbers(values, pool[first:last], rows)


def _coarsely(
    score: Screened, logits: LinearLogits, head: coarse.CoarseHead, indices: IndexArray, floor: Callable[[], float]
) -> Iterator[tuple[int, IndexArray, FloatArray]]:
    """Stream scores of the logits of a head; float32 logits only of rows that coarse ones do not rule out."""
    assert score.misses is not None
    rows = {logits.source_name: logits.embeddings}
    for start, pool, blocks, key in _read(rows, indices, np.float32, block_rows_for(logits, coarse.BLOCK_BYTES)):
        x, least = blocks[logits.source_name][_local(pool, key)], floor()
        misses = functools.partial(score.misses, least)
        near = None if least == -np.inf else head.open_rows(x, misses, score.mass)
        if near is None:
            _check(rows, blocks, key)
            near = np.arange(len(x))
        values = np.full(len(x), -np.inf, dtype=np.float32)
        values[near] = score.from_floor(least, logits=head.logits(x[near]))
        yield start, pool, _numbers(values, pool, rows)


def _checked_scores(score: FloatScore, rows: Mapping[str, Rows], blocks: Mapping[str, Array], key: Key) -> FloatArray:
    """Score blocks, and look at their rows; a score that judges its rows spares the look where all are fine."""
    if isinstance(score, Judged) and _given(rows):
        values = score.judge(**blocks)
        if not np.isnan(values).any():
            return values
    _check(rows, blocks, key)
    return np.asarray(score(**blocks))


def _given(rows: Mapping[str, Rows]) -> bool:
    """Whether all rows are probabilities that were given, not computed."""
    return all(name in PROBABILITIES and stored(value, name)[1] == name for name, value in rows.items())


def _numbers(values: FloatArray, pool: IndexArray, rows: Mapping[str, Rows]) -> FloatArray:
    """Return the scores, if all of them are numbers."""
    if np.isnan(values).any():
        row = pool[np.flatnonzero(np.isnan(values))[0]]
        raise InputError(
            f"the score of row {row} is NaN; every score must be a number. Look at row {row} of "
            f"{', '.join(rows) or 'the arrays'}, and repair or drop that item."
        )
    return values
