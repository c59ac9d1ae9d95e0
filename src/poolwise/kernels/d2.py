"""D2 sampling (k-means++ draws) with stale envelopes: the exact law, a few passes over the pool.

Each pick is drawn with probability proportional to the squared distance to the nearest centre chosen so
far. That distance can only fall as centres are added, so a value computed earlier bounds it from above: draw
from the old values, compute the true one for the drawn rows only, and accept with probability new / old
(rejection sampling, hence exactly the current law). The pool is read again only when the old values have
become so loose that reading it is cheaper than more rejections.

Source: Arthur & Vassilvitskii, "k-means++", SODA 2007 (the law); Devroye, "Non-Uniform Random Variate
Generation", 1986, chapter II.3 (rejection).

Vectors are plain rows x_i, or products e_i (x) h_i that are never built:
<g_i, g_j> = <e_i, e_j> <h_i, h_j> and |g_i|^2 = |e_i|^2 |h_i|^2.

The pool is a team of shards. The driver sees of a shard only counts, drawn rows and bounds, so shards may live
in other processes; the picks do not depend on how the pool is divided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np

from poolwise.errors import InputError
from poolwise.kernels.blocks import LinearLogits, Softmax, as_key, block_rows_for, read_rows, softmax_in_place
from poolwise.kernels.distances import CANCELLED
from poolwise.kernels.team import Here, Team
from poolwise.progress import task
from poolwise.types import FloatArray, IndexArray, Rows

SAME = 1e-12
"""Vectors nearer than this share of |a|^2 + |b|^2 (squared) count as equal, so rounding is never drawn."""

ROUNDING = 4e-6
"""Bound on the rounding of a float32 squared distance, as a share of |a|^2 + |b|^2."""

PAIR_VALUES = 2**18
"""Numbers per factor in one go of the direct computation."""

LOOP_VALUES = 2**17
"""Pools of at most so many numbers are sampled by the plain loop, one pass per pick."""

ROUND_DRAWS = 512
"""Most rows drawn together; their distances are one matrix product. Rounds hold a
quarter of the centres at most, because drawn rows are also compared with each other, and 64 at least."""

FLOPS = 1.2e11
BYTES = 8e9
CALL_SECONDS = 2e-4
"""Rough speed of one core, used only to decide when to refresh: constants, so that picks never depend on the clock."""


@dataclass(frozen=True, slots=True)
class Points:
    """A few vectors, in memory.

    h : (n, D) float
    sq : (n,) float, squared lengths
    e : (n, C) float, first factors; None for plain vectors
    top : (n,) int64 or None; where given, e holds probabilities and 1 is still to be taken off entry top
    bias : 1.0 if h stands for the row with a constant 1 appended, else 0.0
    slack : (n,) float or None; where given, e is incomplete, and this is the length of what it leaves out
    """

    h: FloatArray
    sq: FloatArray
    e: FloatArray | None = None
    top: IndexArray | None = None
    bias: float = 0.0
    slack: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.h)

    def at(self, key: slice | IndexArray) -> Points:
        """Take some of them."""
        e = None if self.e is None else self.e[key]
        return Points(self.h[key], self.sq[key], e, None if self.top is None else self.top[key], self.bias)


def join(parts: Sequence[Points]) -> Points:
    """Put complete points of one kind in a row."""
    first = parts[0]
    e = None if first.e is None else np.concatenate([part.e for part in parts if part.e is not None])
    h, sq = np.concatenate([part.h for part in parts]), np.concatenate([part.sq for part in parts])
    return Points(h, sq, e, None, first.bias)


def inner_products(a: Points, b: Points) -> FloatArray:
    """<a_i, b_j> as (len(a), len(b)), or the least it can be where `a` has slack; `b` must be complete."""
    out: FloatArray = a.h @ b.h.T
    if a.e is not None and b.e is not None:
        if a.bias:
            out += a.h.dtype.type(a.bias)
        factor = a.e @ b.e.T
        if a.top is not None:
            factor -= b.e.T[a.top]
        if a.slack is not None:
            left_out = np.abs(out)
            left_out *= a.slack[:, None]
            left_out *= np.sqrt(np.einsum("ij,ij->i", b.e, b.e))
        out *= factor
        if a.slack is not None:
            out -= left_out
    return out


def sq_distances(a: Points, b: Points) -> FloatArray:
    """|a_i - b_j|^2 as (len(a), len(b)); differences that cancel are computed again directly, in float64.

    Where `a` has slack, the result is an upper bound.
    """
    out = inner_products(a, b)
    out *= -2
    out += a.sq[:, None]
    out += b.sq
    if a.slack is not None:
        return np.maximum(out, ROUNDING * (a.sq[:, None] + b.sq), out=out)
    if a is b:
        np.fill_diagonal(out, np.inf)
    low = np.flatnonzero(out.min(axis=1, initial=np.inf) < CANCELLED * (a.sq + b.sq.max(initial=0.0)))
    rows, columns = np.nonzero(out[low] < CANCELLED * (a.sq[low, None] + b.sq))
    step = max(1, PAIR_VALUES // a.h.shape[1])
    for start in range(0, len(rows), step):
        i, j = low[rows[start : start + step]], columns[start : start + step]
        out[i, j] = _direct(a.at(i), b.at(j))
    if a is b:
        np.fill_diagonal(out, 0)
    return out


def nearest_sq(a: Points, b: Points) -> FloatArray:
    """Squared distance from each a_i to the nearest b_j, as (len(a),)."""
    nearest: FloatArray = sq_distances(a, b).min(axis=1, initial=np.inf)
    return nearest


def _direct(a: Points, b: Points) -> FloatArray:
    """|a_i - b_i|^2 without subtracting large numbers: g - g' = (e - e') (x) h + e' (x) (h - h')."""
    h, h_step = a.h.astype(np.float64), b.h.astype(np.float64) - a.h  # (n, D)
    d2: FloatArray = np.einsum("ij,ij->i", h_step, h_step)
    if a.e is not None and b.e is not None:
        e, e_other = a.e.astype(np.float64), b.e.astype(np.float64)  # (n, C)
        if a.top is not None:
            e[np.arange(len(e)), a.top] -= 1
        e -= e_other
        cross = np.einsum("ij,ij->i", e, e_other) * np.einsum("ij,ij->i", h_step, h)
        d2 *= np.einsum("ij,ij->i", e_other, e_other)
        d2 += np.einsum("ij,ij->i", e, e) * (np.einsum("ij,ij->i", h, h) + a.bias) - 2 * cross
    return np.where(d2 > SAME * (a.sq.astype(np.float64) + b.sq), d2, 0.0)


class Vectors(Protocol):
    """The vectors of one shard, read by blocks or by position."""

    row_seconds: float
    width: int
    sq: FloatArray

    def __len__(self) -> int: ...
    def measure(self) -> Iterator[tuple[int, Points]]:
        """Stream all rows for the first time; whatever later reads need of each row is kept."""
        ...

    def blocks(self, n_centres: int) -> Iterator[tuple[int, Points]]:
        """Stream (position, points) again, for comparison with so many centres."""
        ...

    def take(self, positions: IndexArray) -> Points:
        """Gather complete points; also possible before `measure`."""
        ...


def measure_all(vectors: Vectors) -> None:
    """Read all rows once, for what is kept of each."""
    for _ in vectors.measure():
        pass


class PlainVectors:
    """Rows of an array, moved so that their common offset does not cost digits.

    Parameters
    ----------
    rows : (N, D)
    indices : (n,) int64 sorted, the rows that count
    origin : (D,) what to subtract from each row, or None; default: what `common_offset` finds
        (shards of one pool must be given the same)
    """

    def __init__(
        self, rows: Rows, indices: IndexArray, *, origin: FloatArray | Literal["find"] | None = "find"
    ) -> None:
        self.rows, self.indices = rows, indices
        self.width = int(rows.shape[1])
        self.row_seconds = self.width * (4 / BYTES if rows.dtype == np.float32 else 2e-9)
        self.origin = common_offset(rows, indices) if isinstance(origin, str) else origin
        self.sq = np.empty(len(indices), dtype=np.float32)

    def __len__(self) -> int:
        return len(self.indices)

    def _read(self, indices: IndexArray) -> FloatArray:
        h = read_rows(self.rows, as_key(indices))
        return h if self.origin is None else h - self.origin

    def measure(self) -> Iterator[tuple[int, Points]]:
        """Stream all rows, and keep their squared lengths."""
        for start in range(0, len(self), step := block_rows_for(self.rows)):
            h = self._read(self.indices[start : start + step])
            self.sq[start : start + step] = np.einsum("ij,ij->i", h, h)
            yield start, Points(h, self.sq[start : start + step])

    def blocks(self, n_centres: int) -> Iterator[tuple[int, Points]]:
        """Stream all rows."""
        for start in range(0, len(self), step := _block_rows(self.rows, n_centres)):
            yield start, Points(self._read(self.indices[start : start + step]), self.sq[start : start + step])

    def take(self, positions: IndexArray) -> Points:
        """Gather some rows."""
        order = np.argsort(positions, kind="stable")
        h = self._read(self.indices[positions[order]])[np.argsort(order, kind="stable")]
        return Points(h, np.einsum("ij,ij->i", h, h))


class GradientVectors:
    """Gradients of the log loss by the last layer's weights, with the predicted class as label: e_i (x) h_i.

    e_i = probs_i - onehot(argmax probs_i), h_i = embeddings_i, with a 1 appended if `bias`.

    Parameters
    ----------
    probs : (N, C) rows sum to 1; may be computed on the fly
    embeddings : (N, D)
    indices : (n,) int64 sorted, the rows that count
    topk : keep so many entries of e_i (int32 and float32), so that later passes need no class scores. What is
        left out enters the bounds, which get a little looser but stay bounds: the law of the draws is exact.
    """

    def __init__(
        self, probs: Rows, embeddings: Rows, indices: IndexArray, *, bias: bool = False, topk: int | None = None
    ) -> None:
        self.probs, self.embeddings, self.indices, self.bias = probs, embeddings, indices, float(bias)
        n_classes, n_features = int(probs.shape[1]), int(embeddings.shape[1])
        self.width = n_classes + n_features
        self.row_seconds = n_features * (4 / BYTES if embeddings.dtype == np.float32 else 2e-9)
        self.row_seconds += n_classes * (4 / BYTES if isinstance(probs, np.ndarray) else 3e-9)
        self.topk = topk if topk is not None and topk < n_classes else None
        if _head_of(probs, embeddings) is not None and self.topk is None:
            self.row_seconds += 2 * n_classes * n_features / FLOPS
        kept = (len(indices), self.topk or 0)
        self.entries, self.values = np.empty(kept, dtype=np.int32), np.empty(kept, dtype=np.float32)
        self.slack = np.zeros(len(indices), dtype=np.float32)
        self.residual = 0.0  # mean of slack / |e|
        self.sq = np.empty(len(indices), dtype=np.float32)
        self.top = np.empty(len(indices), dtype=np.int32)

    def __len__(self) -> int:
        return len(self.indices)

    def _read(self, indices: IndexArray) -> tuple[FloatArray, FloatArray]:
        key = as_key(indices)
        h = read_rows(self.embeddings, key)
        head = _head_of(self.probs, self.embeddings)
        return (read_rows(self.probs, key) if head is None else softmax_in_place(head.of(h))), h

    def measure(self) -> Iterator[tuple[int, Points]]:
        """Stream all rows, and keep their predicted classes and squared lengths."""
        step = min(block_rows_for(self.probs), block_rows_for(self.embeddings))
        for start in range(0, len(self), step):
            part = slice(start, start + step)
            p, h = self._read(self.indices[part])
            top = p.argmax(axis=1)
            self.top[part] = top
            sq_e = _sq_residuals(p, top)
            self.sq[part] = sq_e * (np.einsum("ij,ij->i", h, h) + np.float32(self.bias))
            if self.topk is not None:
                self._keep(part, p, top, sq_e)
            yield start, Points(h, self.sq[part], p, top, self.bias)

    def _keep(self, part: slice, p: FloatArray, top: IndexArray, sq_e: FloatArray) -> None:
        """Store the largest entries, the predicted class among them, and the length of the rest."""
        entries = np.argpartition(p, -int(self.topk or 0), axis=1)[:, -int(self.topk or 0) :]
        entries[:, 0] = np.where((entries == top[:, None]).any(axis=1), entries[:, 0], top)
        values = np.take_along_axis(p, entries, axis=1) - (entries == top[:, None])
        left = sq_e - np.einsum("ij,ij->i", values, values)
        self.entries[part], self.values[part] = entries, values
        self.slack[part] = np.sqrt(np.maximum(left, 0) + ROUNDING * sq_e)
        share = np.sqrt(np.maximum(left, 0) / np.maximum(sq_e, 1e-30))
        self.residual += float(share.sum()) / len(self)

    def blocks(self, n_centres: int) -> Iterator[tuple[int, Points]]:
        """Stream all rows."""
        step = min(_block_rows(self.probs, n_centres), _block_rows(self.embeddings, n_centres))
        for start in range(0, len(self), step):
            part = slice(start, start + step)
            if self.topk is not None:
                h = read_rows(self.embeddings, as_key(self.indices[part]))
                e = np.zeros((len(h), self.probs.shape[1]), dtype=np.float32)
                np.put_along_axis(e, self.entries[part], self.values[part], axis=1)
                yield start, Points(h, self.sq[part], e, None, self.bias, self.slack[part])
                continue
            p, h = self._read(self.indices[part])
            yield start, Points(h, self.sq[part], p, self.top[part].astype(np.int64), self.bias)

    def take(self, positions: IndexArray) -> Points:
        """Gather some rows, with complete first factors."""
        order = np.argsort(positions, kind="stable")
        p, h = self._read(self.indices[positions[order]])
        back = np.argsort(order, kind="stable")
        e, h = p[back], h[back]
        top = e.argmax(axis=1)
        sq = _sq_residuals(e, top) * (np.einsum("ij,ij->i", h, h) + np.float32(self.bias))
        e[np.arange(len(e)), top] -= 1
        return Points(h, sq, e, None, self.bias)


def _head_of(probs: Rows, embeddings: Rows) -> LinearLogits | None:
    """Find the head when probabilities come from these very embeddings, which are then read once for both."""
    if isinstance(probs, Softmax) and isinstance(probs.logits, LinearLogits) and probs.logits.embeddings is embeddings:
        return probs.logits
    return None


def _sq_residuals(p: FloatArray, top: IndexArray) -> FloatArray:
    """|p_i - onehot(top_i)|^2; for confident rows without the difference of two numbers near 1."""
    p_top = p[np.arange(len(p)), top]
    sq: FloatArray = np.einsum("ij,ij->i", p, p) - p_top * p_top + (1 - p_top) ** 2
    confident = np.flatnonzero(sq < CANCELLED)
    rest = p[confident]
    rest[np.arange(len(rest)), top[confident]] -= 1
    sq[confident] = np.einsum("ij,ij->i", rest, rest)
    return sq


def _block_rows(rows: Rows, n_centres: int) -> int:
    """Rows of a block such that neither the block nor its distances to the centres grow large."""
    return min(block_rows_for(rows), max(256, 2**22 // max(n_centres, 1)))


def common_offset(rows: Rows, indices: IndexArray) -> FloatArray | None:
    """Mean of up to 1024 evenly spaced rows, as (D,) float32; None where it is too small to cost digits."""
    picked = indices[np.linspace(0, len(indices) - 1, min(len(indices), 1024)).astype(np.int64)]
    sample = read_rows(rows, picked, np.float64)
    mean = sample.mean(axis=0)
    spread = np.square(sample - mean).sum(axis=1).mean()
    return mean.astype(np.float32) if mean @ mean > 4 * spread else None


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
    team = Here([Envelope(vectors) for vectors in shards]) if isinstance(shards, Sequence) else shards
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
