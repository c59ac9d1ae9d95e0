"""k-center greedy over pools of any size: the same picks as the textbook loop, at a fraction of its work.

Source: Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 1985
(the greedy rule); stale upper bounds as in lazy greedy (Minoux 1978). The arrangement below is poolwise's own.

A row's squared distance to its nearest centre can only fall while centres are added, so an old value bounds the
present one from above. Three levels use that:

    pool    every row has an interval [lower, upper] that holds its value, valid for the first `upto` centres
    active  the few percent of rows with the largest `upper`, held in memory and kept up to date
    window  the W foremost active rows and their Gram matrix: picks above everything outside the window are final

Intervals make the picks independent of block sizes, threads and shards: a float32 distance is only trusted to
`TOLERANCE`, and whenever two intervals overlap at the top, both rows are settled by float64 distances of the
stored rows. The larger value goes first, then the lower pool index.

Most distances are never computed: with P = (x - origin) V for orthonormal V and the residual length rho,

    |x - c|^2  >=  |P_x - P_c|^2 + (rho_x - rho_c)^2,

and a centre whose bound is not below a row's value cannot change it.

A pool split over shards is a team of `Part`; `k_center` drives any number of them, and what travels between a
part and the window (`Candidates`, the window's intervals, the new centres) is small.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from poolwise.errors import InputError
from poolwise.kernels.blocks import as_key, load_rows, read_rows
from poolwise.kernels.distances import sq_norms
from poolwise.kernels.onecenter import one_center
from poolwise.kernels.team import Here, Team
from poolwise.progress import task
from poolwise.types import Array, BoolArray, FloatArray, IndexArray, Rows

TOLERANCE = 2e-6
"""Error of a float32 squared distance relative to |x|^2 + |c|^2. Largest seen: 7.4e-7 (D = 2048, 9 M pairs)."""

SLACK = 1e-5
"""Error allowed to the low-dimensional bound, relative to the same scale; includes V not being quite orthonormal."""

SKETCH_DIM = 64
"""Directions of the low-dimensional bound (scalable selection, section 2.1)."""

MIN_CENTRES = 256
"""With fewer labeled and picked rows the bound costs more than it saves."""

SAMPLE = 3072
"""Rows from which the frame is chosen."""

PLAIN_ROWS = 4096
"""Up to this many rows all are active: one window's gather then holds the whole pool."""

ACTIVE_BYTES = 192 * 2**20
"""Most memory for active rows; 2 % of 1.28 M rows of 2048 float32."""

BLOCK_BYTES = 2**20
"""Rows are prepared in blocks that stay in the second-level cache."""

PAIR_BLOCK = 2**22
"""Most (row, centre) pairs looked at together."""

CHUNK = 1024
"""Largest window, and rows brought up to date together."""

CENTRE_CHUNK = 512
"""Centres in one matrix product."""

ONE_CENTRE_ROWS = 10_000
"""Up to so many rows a cold start finds the 1-centre; beyond, that would take longer than all picks after it."""

PAIR_COST = 160
"""Time of a distance on its own over that of one inside a matrix product (measured: 160 to 240, D = 512)."""

Fetch = Callable[[IndexArray], FloatArray]
"""Stored rows by pool index, as float64."""


@dataclass(frozen=True, slots=True)
class KCenterPicks:
    """Rows chosen by k-center greedy.

    indices : (B,) int64 pool indices, in order of choice
    distance : (B,) float64, distance of each pick to the nearest centre when it was picked, never increasing;
        the first pick of a cold start has the distance of the row farthest from it
    nearest : (B,) int64 pool index of that centre; -1 for the first pick of a cold start
    cover_radius : largest distance of any unlabeled row to its nearest centre after the last pick
    """

    indices: IndexArray
    distance: FloatArray
    nearest: IndexArray
    cover_radius: float


@dataclass(frozen=True, slots=True)
class Frame:
    """Coordinates in which distances are computed: a common origin and scale, and leading directions.

    origin : (D,) about the mean of the pool; float64 where rows do not fit float32 exactly, else float32
    scale : a power of two that keeps squares in range
    basis : (D, k) float32 orthonormal, or None where the bound would not pay
    """

    origin: FloatArray
    scale: float
    basis: FloatArray | None

    def place(self, block: Array, out: FloatArray | None = None) -> FloatArray:
        """Move (n, D) stored rows, in the dtype of the origin, into the frame: (n, D) float32."""
        if self.origin.dtype == np.float64:
            with np.errstate(over="ignore"):  # found by whoever computes the length
                x = ((block - self.origin) * self.scale).astype(np.float32)
            if out is None:
                return x
            out[:] = x
            return out
        x = np.subtract(block, self.origin, out=out)
        if self.scale != 1.0:
            x *= np.float32(self.scale)
        return x

    def sketch(self, x: FloatArray, sq_norm: FloatArray) -> FloatArray:
        """Project placed rows: (n, k + 1) float32, the last column is the length of the residual."""
        assert self.basis is not None
        out = np.empty((len(x), self.basis.shape[1] + 1), dtype=np.float32)
        out[:, :-1] = x @ self.basis
        rest = sq_norm - sq_norms(out[:, :-1])
        weak = np.flatnonzero(rest < 0.01 * sq_norm)  # too little is left of the difference: compute the residual
        for start in range(0, len(weak), CHUNK):
            at = weak[start : start + CHUNK]
            rest[at] = sq_norms(x[at] - out[at, :-1] @ self.basis.T)
        out[:, -1] = np.sqrt(rest)
        return out


def _exact_dtype(rows: Rows) -> DTypeLike:
    """float32 where it holds the stored values exactly, else float64."""
    return np.float32 if np.can_cast(rows.dtype, np.float32) else np.float64


def fit_frame(rows: Rows, indices: IndexArray, n_centres: int) -> Frame:
    """Choose origin, scale and basis from at most `SAMPLE` evenly spaced rows; any choice gives the same picks.

    For fewer than `MIN_CENTRES` centres a basis costs more than it saves.
    """
    wants_basis = n_centres >= MIN_CENTRES and rows.shape[1] >= 2 * SKETCH_DIM
    count = min(SAMPLE if wants_basis else SAMPLE // 12, len(indices))
    sample = indices[np.linspace(0, len(indices) - 1, count).astype(np.int64)]  # count <= U: no repeats
    x = read_rows(rows, as_key(sample), np.float64)
    length = sq_norms(x - x.mean(axis=0))
    near = length <= np.quantile(length, 0.9)  # a few far rows must not pull the origin away from all others
    origin = x[near].mean(axis=0).astype(_exact_dtype(rows))
    x = x - origin  # not in place: these may be the user's own rows
    largest = float(np.abs(x).max(initial=0.0))
    exponent = float(np.ceil(np.log2(largest))) if largest > 0 else 0.0
    most = 126 if origin.dtype == np.float32 else 1000
    scale = 1.0 if abs(exponent) <= 20 else float(2.0 ** np.clip(-exponent, -most, most))
    x = (x * scale).astype(np.float32)
    basis = None
    if wants_basis and len(x) >= 4 * SKETCH_DIM:
        basis = _leading_directions(x, SKETCH_DIM)
        if not _prunes(x, basis):
            basis = None
    return Frame(origin, scale, basis)


def _leading_directions(x: FloatArray, k: int) -> FloatArray:
    """Find k orthonormal directions of most variance by three rounds of subspace iteration."""
    basis = np.random.Generator(np.random.Philox(0)).standard_normal((x.shape[1], k), dtype=np.float32)
    for _ in range(3):
        basis = np.linalg.qr(x.T @ (x @ basis))[0]
    return np.linalg.qr(basis.astype(np.float64))[0].astype(np.float32)


def _prunes(x: FloatArray, basis: FloatArray) -> bool:
    """Try the bound on up to 1024 sampled rows against 64 others: does it rule out most pairs?"""
    frame = Frame(np.zeros(x.shape[1], dtype=np.float32), 1.0, basis)
    spread = x[np.linspace(0, len(x) - 1, min(len(x), 1024)).astype(np.int64)]
    n = sq_norms(spread)
    q = frame.sketch(spread, n)
    centres, rest = slice(0, 128, 2), slice(1, None)
    full = n[rest, None] + n[centres] - 2 * spread[rest] @ spread[centres].T
    bound = sq_norms(q)[rest, None] + sq_norms(q)[centres] - 2 * q[rest] @ q[centres].T
    value = np.partition(full, 1, axis=1)[:, 1]  # the second smallest: a row may itself be a centre
    return bool(np.mean(bound < value[:, None]) < 0.5)


class Centres:
    """Labeled and picked rows in the frame, in the order in which they count.

    ids : pool indices; x : (t, D) float32; sq_norm : (t,) float32; sketch : (t, k + 1) float32 or None
    """

    def __init__(self, frame: Frame, width: int, capacity: int) -> None:
        self.frame = frame
        self.count = 0
        self._ids = np.empty(capacity, dtype=np.int64)
        self._x = np.empty((capacity, width), dtype=np.float32)
        self._sq_norm = np.empty(capacity, dtype=np.float32)
        self._reached = np.empty(capacity)
        k = 0 if frame.basis is None else frame.basis.shape[1] + 3
        self._probe = np.empty((capacity, k), dtype=np.float32)

    def __len__(self) -> int:
        return self.count

    @property
    def ids(self) -> IndexArray:
        return self._ids[: self.count]

    @property
    def x(self) -> FloatArray:
        return self._x[: self.count]

    @property
    def sq_norm(self) -> FloatArray:
        return self._sq_norm[: self.count]

    @property
    def reached(self) -> FloatArray:
        """Upper bound of the squared distance to the earlier centres; +inf where it is not known."""
        return self._reached[: self.count]

    @property
    def probe(self) -> FloatArray:
        """(t, k + 3): the product of [sketch, 1, a] with [-2 sketch, |sketch|^2, 1] is the bound, shifted by a."""
        return self._probe[: self.count]

    def append(self, ids: IndexArray, x: FloatArray, sq_norm: FloatArray, reached: float = np.inf) -> None:
        """Add placed rows."""
        here = slice(self.count, self.count + len(ids))
        self._ids[here], self._x[here], self._sq_norm[here], self._reached[here] = ids, x, sq_norm, reached
        if self.frame.basis is not None:
            sketch = self.frame.sketch(np.ascontiguousarray(x), sq_norm)
            self._probe[here, :-2] = -2 * sketch
            self._probe[here, -2] = sq_norms(sketch)
            self._probe[here, -1] = 1
        self.count += len(ids)


def _widen(d: FloatArray, sq_norm: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Interval that holds the true value of a float32 result d.

    Only |x|^2 is needed: |c| <= |x| + sqrt(d) gives |x|^2 + |c|^2 <= 3 |x|^2 + 2 d.
    """
    d = np.maximum(d, 0, dtype=np.float64)
    slip = TOLERANCE * (3.0 * sq_norm + 2.0 * d)
    return np.maximum(d - slip, 0), d + slip


def tighten(
    read: Callable[[IndexArray | slice], FloatArray],
    sketch: FloatArray | None,
    sq_norm: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    centres: Centres,
    first: int,
) -> None:
    """Bring n rows up to date with the centres from number `first` on.

    Parameters
    ----------
    read : placed rows (m, D) for positions among the n
    sketch : (n, k + 1), or None to compute every distance
    sq_norm : (n,)
    lower, upper : (n,) float64, changed in place; upper is +inf where no centre has counted yet
    """
    last = len(centres)
    if first >= last or not len(upper):
        return
    if sketch is None or upper.max() == np.inf:
        stop = last if sketch is None else min(last, first + SKETCH_DIM)
        _tighten_fully(read(slice(None)), sq_norm, lower, upper, centres, first, stop)
        first = stop
    if first == last or sketch is None:
        return
    probe = centres.probe[first:]
    bound = _bounds(sketch, sq_norm, upper, probe)
    hot = np.flatnonzero(bound.min(axis=1) < 0)
    if not len(hot):
        return
    x, n, low, up = read(hot), sq_norm[hot], lower[hot], upper[hot]
    if len(hot) < len(bound):
        bound = bound[hot]
    _tighten_suspects(x, n, low, up, centres, first, bound)
    lower[hot], upper[hot] = low, up


def _bounds(sketch: FloatArray, sq_norm: FloatArray, upper: FloatArray, probe: FloatArray) -> FloatArray:
    """(n, m) lower bound of each squared distance minus the row's value: below 0 where a centre may be nearer."""
    rows = np.empty((len(upper), probe.shape[1]), dtype=np.float32)
    rows[:, :-2] = sketch
    rows[:, -2] = 1
    value = np.fmax(upper, -sq_norm)  # a row that is already picked has -inf
    rows[:, -1] = sq_norm - value - SLACK * (3 * sq_norm + 2 * value)
    bound: FloatArray = rows @ probe.T
    return bound


def _tighten_fully(
    x: FloatArray,
    sq_norm: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    centres: Centres,
    first: int,
    last: int,
) -> None:
    for start in range(first, last, CENTRE_CHUNK):
        stop = min(start + CENTRE_CHUNK, last)
        product = x @ centres.x[start:stop].T
        product *= -2
        product += centres.sq_norm[start:stop]
        low, up = _widen(product.min(axis=1).astype(np.float64) + sq_norm, sq_norm)
        np.minimum(lower, low, out=lower)
        np.minimum(upper, up, out=upper)


def _tighten_suspects(
    x: FloatArray,
    sq_norm: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    centres: Centres,
    first: int,
    bound: FloatArray,
) -> None:
    """Compute the distances that may matter: the smallest bound of each row, then what is still below its value.

    Rows that keep many suspects take them all as one matrix product, which is `PAIR_COST` times cheaper a pair.
    """
    before = upper.copy()
    everyone = np.arange(len(x))
    _tighten_pairs(x, sq_norm, lower, upper, centres, first, everyone, bound.argmin(axis=1))
    suspect = bound < (upper - before)[:, None]
    suspect[everyone, bound.argmin(axis=1)] = False
    count = np.count_nonzero(suspect, axis=1)
    many = np.flatnonzero(count * PAIR_COST > bound.shape[1])
    if len(many):
        low, up = lower[many], upper[many]
        _tighten_fully(x[many], sq_norm[many], low, up, centres, first, len(centres))
        lower[many], upper[many] = low, up
        suspect[many] = False
    row, column = np.nonzero(suspect)
    for start in range(0, len(row), CHUNK):
        here = slice(start, start + CHUNK)
        _tighten_pairs(x, sq_norm, lower, upper, centres, first, row[here], column[here])


def _tighten_pairs(
    x: FloatArray,
    sq_norm: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    centres: Centres,
    first: int,
    row: IndexArray,
    column: IndexArray,
) -> None:
    """Account for single (row, centre) pairs; a row may come several times."""
    dot = np.einsum("ij,ij->i", x[row], centres.x[first + column])
    d = sq_norm[row] + centres.sq_norm[first + column] - 2.0 * dot.astype(np.float64)
    low, up = _widen(d, sq_norm[row])
    np.minimum.at(lower, row, low)
    np.minimum.at(upper, row, up)


def foremost(upper: FloatArray, count: int) -> tuple[IndexArray, float, int]:
    """Split off the `count` largest values, lowest position first among equals.

    Returns
    -------
    their positions, ascending; the largest value that is left and its lowest position (-inf, -1 if none is).
    """
    n = len(upper)
    if count >= n:
        return np.arange(n), -np.inf, -1
    ranked = np.partition(upper, (n - count - 1, n - count))
    left, edge = ranked[n - count - 1], ranked[n - count]
    inside = upper > edge if left == edge else upper >= edge
    if left == edge:
        level = np.flatnonzero(upper == edge)
        inside[level[: count - np.count_nonzero(inside)]] = True
    rest = np.flatnonzero((upper == left) & ~inside)
    return np.flatnonzero(inside), float(left), int(rest[0])


def _before(upper: FloatArray, pos: IndexArray, rest: float, rest_pos: int) -> BoolArray:
    """Which rows come before row `rest_pos` with value `rest`: larger value, then lower position."""
    ahead: BoolArray = (upper > rest) | ((upper == rest) & (pos < rest_pos))
    return ahead


@dataclass(slots=True)
class Candidates:
    """The rows that one or several shards put forward, all up to date, and what stays behind.

    ids, x, sq_norm, lower, upper : (W, ...) pool index, placed row, its squared length, its interval
    rest, rest_id : largest upper bound of all other rows, and the lowest pool index that has it
    """

    ids: IndexArray
    x: FloatArray
    sq_norm: FloatArray
    lower: FloatArray
    upper: FloatArray
    rest: float
    rest_id: int


def merge(parts: Sequence[Candidates]) -> Candidates:
    """Join the candidates of several shards."""
    if len(parts) == 1:
        return parts[0]
    rest, rest_id = max(((part.rest, part.rest_id) for part in parts), key=lambda pair: (pair[0], -pair[1]))
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in ("ids", "x", "sq_norm")]
    intervals = [np.concatenate([getattr(part, name) for part in parts]) for name in ("lower", "upper")]
    return Candidates(joined[0], joined[1], joined[2], intervals[0], intervals[1], rest, rest_id)


def pick_in_window(window: Candidates, centres: Centres, limit: int, fetch: Fetch) -> list[int]:
    """Pick greedily among the candidates while that is certain to be right for the whole pool.

    Appends the picks to `centres` and tightens the window's intervals in place (a pick's becomes -inf).

    Returns
    -------
    Positions of the picks in the window, in order. None may be certain; then at least one row has been settled,
    so that repeating with fresh candidates comes to an end.
    """
    lower, upper, sq_norm = window.lower, window.upper, window.sq_norm
    gram: FloatArray | None = None
    picks: list[int] = []
    while len(picks) < limit:
        pos = _leader(window, centres, fetch)
        if not _is_final(window, pos):
            if picks or lower[pos] == upper[pos]:
                break
            settle(window, np.array([pos]), centres, fetch)
            pos = _leader(window, centres, fetch)
            if not _is_final(window, pos):
                break
        picks.append(pos)
        reached = float(upper[pos])
        if gram is None and 1 < len(window.ids) <= CHUNK:
            gram = window.x @ window.x.T  # (W, W)
        dot = gram[pos] if gram is not None else window.x @ window.x[pos]
        low, up = _widen(sq_norm[pos] - 2.0 * dot + sq_norm, sq_norm)
        doubtful = np.flatnonzero((lower == upper) & (low < upper) & (up >= upper))
        if len(doubtful):  # settled rows stay settled
            low[doubtful] = up[doubtful] = _exact_pairs(window.ids[doubtful], window.ids[pos : pos + 1], centres, fetch)
        np.minimum(lower, low, out=lower)
        np.minimum(upper, up, out=upper)
        lower[pos] = upper[pos] = -np.inf
        centres.append(window.ids[pos : pos + 1], window.x[pos : pos + 1], sq_norm[pos : pos + 1], reached)
    return picks


def _leader(window: Candidates, centres: Centres, fetch: Fetch) -> int:
    """Position of the candidate with the largest value; float64 decides where intervals overlap."""
    lower, upper = window.lower, window.upper
    pos = int(lower.argmax())
    level = np.flatnonzero(upper >= lower[pos])
    if len(level) == 1:
        return int(level[0])
    unsure = level[lower[level] < upper[level]]
    if len(unsure):
        settle(window, unsure, centres, fetch)
    level = level[lower[level] == lower[level].max()]
    return int(level[window.ids[level].argmin()])


def _is_final(window: Candidates, pos: int) -> bool:
    """No row outside the window can come before this one."""
    low = window.lower[pos]
    return bool(low > window.rest or (low == window.upper[pos] == window.rest and window.ids[pos] < window.rest_id))


def settle(window: Candidates, at: IndexArray, centres: Centres, fetch: Fetch) -> None:
    """Replace the intervals of some rows by their values, from float64 distances of the stored rows."""
    step = int(np.clip(PAIR_BLOCK // len(centres), 16, CHUNK))
    for start in range(0, len(at), step):
        here = at[start : start + step]
        x, sq_norm = window.x[here], window.sq_norm[here]
        guess = _guess(x, sq_norm, window.upper[here], centres, np.full(len(here), len(centres)))
        value, _ = exact_value(window.ids[here], sq_norm, guess, centres, fetch)
        window.lower[here] = window.upper[here] = value


def _guess(x: FloatArray, sq_norm: FloatArray, upper: FloatArray, centres: Centres, count: IndexArray) -> FloatArray:
    """Float32 squared distances of each row to its first `count` centres; +inf where a centre cannot be nearest.

    Returns
    -------
    (n, t) float32, t = max(count)
    """
    t = int(count.max())
    later = np.arange(t) >= count[:, None]
    if centres.frame.basis is not None and np.isfinite(upper).all():
        bound = _bounds(centres.frame.sketch(x, sq_norm), sq_norm, upper, centres.probe[:t])
        row, column = np.nonzero((bound <= 0) & ~later)
        if len(row) * PAIR_COST < max(len(x), 32) * t:  # products of few rows are slowed by reading the centres
            bound.fill(np.inf)
            for start in range(0, len(row), CHUNK):
                r, c = row[start : start + CHUNK], column[start : start + CHUNK]
                dot = np.einsum("ij,ij->i", x[r], centres.x[c])
                bound[r, c] = sq_norm[r] + centres.sq_norm[c] - 2 * dot
            return bound
    guess = x @ centres.x[:t].T
    guess *= -2
    guess += centres.sq_norm[:t]
    guess += sq_norm[:, None]
    guess[later] = np.inf
    return guess


def exact_value(
    ids: IndexArray, sq_norm: FloatArray, guess: FloatArray, centres: Centres, fetch: Fetch
) -> tuple[FloatArray, IndexArray]:
    """Squared distance of each row to its nearest centre, in float64, and which centre that is.

    Parameters
    ----------
    guess : (n, t) float32 squared distances; +inf for centres that do not count; overwritten

    Centres are tried from the smallest guess until none is left that could be nearer. Of equally near centres the
    first counts, save that any copy of the row will do.
    """
    value = np.full(len(ids), np.inf)
    nearest = np.full(len(ids), -1, dtype=np.int64)
    at = np.arange(len(ids))
    while len(at):
        best = guess[at].argmin(axis=1)
        keep = np.isfinite(guess[at, best])
        at, best = at[keep], best[keep]
        low, _ = _widen(guess[at, best], sq_norm[at])
        keep = low < value[at]
        at, best = at[keep], best[keep]
        if len(at):
            d = _exact_pairs(ids[at], centres.ids[best], centres, fetch)
            nearer = (d < value[at]) | ((d == value[at]) & (best < nearest[at]))
            value[at[nearer]], nearest[at[nearer]] = d[nearer], best[nearer]
            guess[at, best] = np.inf
    return value, nearest


def _exact_pairs(a: IndexArray, b: IndexArray, centres: Centres, fetch: Fetch) -> FloatArray:
    """Squared distances between rows by pool index, a[i] to b[i] (or all to one), in float64.

    Rounded to 41 bits, so that sums in another order give the same value.
    """
    wanted, back = np.unique(b, return_inverse=True)
    difference = fetch(a) - fetch(wanted)[back]
    difference *= centres.frame.scale
    return _round(sq_norms(difference))


def _round(value: FloatArray) -> FloatArray:
    """Round to 41 significant bits (Veltkamp splitting)."""
    scaled = value * (2.0**12 + 1)
    return scaled - (scaled - value)


class Shard:
    """The state of one part of a pool, and the only reader of its rows.

    Parameters
    ----------
    rows : (n, D), read by blocks
    indices : (u,) positions within `rows` of the rows that may be picked, sorted
    frame : the same for all shards
    first_id : pool index of row 0 of this part

    Memory: 24 B a row, 4 (k + 1) B a row where the frame has a basis, at most `ACTIVE_BYTES` of active rows.
    """

    def __init__(self, rows: Rows, indices: IndexArray, frame: Frame, *, first_id: int = 0) -> None:
        n, width = len(indices), rows.shape[1]
        self.rows, self.indices, self.frame, self.first_id = rows, indices, frame, first_id
        self.sq_norm = np.empty(n, dtype=np.float32)
        self.lower, self.upper = np.full(n, np.inf), np.full(n, np.inf)
        self.upto = np.zeros(n, dtype=np.int32)
        self.sketch = None if frame.basis is None else np.empty((n, frame.basis.shape[1] + 1), dtype=np.float32)
        self.total = np.zeros(width)
        self.step = max(64, BLOCK_BYTES // (4 * width))
        self.capacity = n if n <= PLAIN_ROWS else int(np.clip(n // 50, 1024, max(1024, ACTIVE_BYTES // (4 * width))))
        self.reach = self.capacity
        self.active = np.empty(0, dtype=np.int64)
        self.active_x = np.empty((0, width), dtype=np.float32)
        self.rest, self.rest_pos = np.inf, -1
        self._front = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def ids(self) -> IndexArray:
        """Pool indices."""
        return self.indices + self.first_id

    def read(self, pos: IndexArray | slice, out: FloatArray | None = None) -> FloatArray:
        """Placed rows at some positions of this shard's list; sorted positions are fastest."""
        return self.frame.place(read_rows(self.rows, as_key(self.indices[pos]), self.frame.origin.dtype), out)

    def _read_among(self, pos: IndexArray, key: IndexArray | slice) -> FloatArray:
        return self.read(pos[key])

    def prepare(self, centres: Centres) -> None:
        """Read all rows once: lengths, sketches, sums, and distances to the first centres."""
        first = min(len(centres), SKETCH_DIM)
        buffer = np.empty((min(self.step, len(self)), self.rows.shape[1]), dtype=np.float32)
        with task("reading the pool", len(self)) as work:
            for start in range(0, len(self), self.step):
                here = slice(start, min(start + self.step, len(self)))
                x = self.read(here, buffer[: here.stop - start])
                n = sq_norms(x)
                if not np.isfinite(n).all():
                    row = int(self.ids[here][~np.isfinite(n)][0])
                    raise InputError(
                        f"embeddings row {row} is more than 1e15 times longer than the others, too long to compute "
                        'distances in float32. Drop that item, or scale rows with metric="cosine".'
                    )
                self.sq_norm[here] = n
                if not first:  # a cold start needs the mean
                    self.total += x.sum(axis=0, dtype=np.float64)
                if self.sketch is not None:
                    self.sketch[here] = self.frame.sketch(x, n)
                if first:
                    _tighten_fully(x, n, self.lower[here], self.upper[here], centres, 0, first)
                work.advance(len(n))
        self.upto[:] = first

    def catch_up(self, pos: IndexArray, centres: Centres) -> None:
        """Bring the rows at some positions up to date with all centres."""
        pos = pos[self.upto[pos] < len(centres)]
        pos = pos[np.lexsort((pos, self.upto[pos]))]
        step = self.step
        if self.sketch is not None:
            step = int(np.clip(PAIR_BLOCK // max(1, len(centres) - int(self.upto[pos].min(initial=0))), 64, CHUNK))
        for start in range(0, len(pos), step):
            here = np.sort(pos[start : start + step])
            lower, upper = self.lower[here], self.upper[here]
            tighten(
                functools.partial(self._read_among, here),
                None if self.sketch is None else self.sketch[here],
                self.sq_norm[here],
                lower,
                upper,
                centres,
                int(self.upto[here].min()),
            )
            self.lower[here], self.upper[here], self.upto[here] = lower, upper, len(centres)

    def top_candidates(self, count: int, centres: Centres) -> Candidates:
        """Put forward the `count` rows with the largest upper bounds, up to date with all centres."""
        if not _before(self.upper[self.active], self.active, self.rest, self.rest_pos).any():
            self._refill(centres)
        front, rest, rest_at = foremost(self.upper[self.active], count)
        self._front = front
        rest_pos = int(self.active[rest_at]) if rest_at >= 0 else -1
        if self.rest > rest or (self.rest == rest and self.rest_pos < rest_pos):
            rest, rest_pos = self.rest, self.rest_pos
        pos = self.active[front]
        x = self.active_x if len(front) == len(self.active) else self.active_x[front]
        ids = self.ids
        rest_id = int(ids[rest_pos]) if rest_pos >= 0 else -1
        return Candidates(ids[pos], x, self.sq_norm[pos], self.lower[pos], self.upper[pos], rest, rest_id)

    def absorb(self, lower: FloatArray, upper: FloatArray, centres: Centres, first: int) -> None:
        """Take back the intervals of this shard's candidates, and the centres added since number `first`."""
        pos = self.active
        for start in range(0, len(pos) if len(self._front) < len(pos) else 0, 4 * CHUNK):
            here, x = pos[start : start + 4 * CHUNK], self.active_x[start : start + 4 * CHUNK]
            low, up = self.lower[here], self.upper[here]
            sketch = None if self.sketch is None else self.sketch[here]
            tighten(x.__getitem__, sketch, self.sq_norm[here], low, up, centres, first)
            self.lower[here], self.upper[here] = low, up
        self.lower[pos[self._front]], self.upper[pos[self._front]] = lower, upper
        self.upto[pos] = len(centres)

    def _refill(self, centres: Centres) -> None:
        """Choose active rows afresh: reach further down the list until enough rows are above all others."""
        goal = max(1, self.capacity // 4)
        while True:
            pos, rest, rest_pos = foremost(self.upper, self.reach)
            self.catch_up(pos, centres)
            ahead = pos[_before(self.upper[pos], pos, rest, rest_pos)]
            if len(ahead) >= goal or self.reach >= len(self):
                break
            self.reach = min(2 * self.reach, len(self))
        if len(ahead) > self.capacity:
            kept, rest, at = foremost(self.upper[ahead], self.capacity)
            rest_pos, ahead = int(ahead[at]), ahead[kept]
            self.reach = max(self.capacity, self.reach // 2)
        self.active, self.rest, self.rest_pos = ahead, rest, rest_pos
        self.active_x = np.empty((0, self.rows.shape[1]), dtype=np.float32)  # let go of the old rows first
        self.active_x = np.empty((len(ahead), self.rows.shape[1]), dtype=np.float32)
        for start in range(0, len(ahead), CHUNK):
            self.read(ahead[start : start + CHUNK], self.active_x[start : start + CHUNK])


class Part:
    """One part of a pool and its copy of the centres; parts of one process may share the centres.

    Parameters
    ----------
    rows : (N, D), the whole pool; of it, this part reads its own and the labeled rows
    indices : (u,) int64 pool indices of the rows that may be picked here, sorted
    labeled : (L,) int64 pool indices
    """

    def __init__(self, rows: Rows, indices: IndexArray, labeled: IndexArray) -> None:
        self.rows, self.indices, self.labeled = rows, indices, labeled

    def begin(self, frame: Frame, capacity: int, centres: Centres | None = None) -> None:
        """Read the labeled rows, which are the first of at most `capacity` centres, and then all rows of the part."""
        self.centres = labeled_centres(self.rows, self.labeled, frame, capacity) if centres is None else centres
        self.shard = Shard(self.rows, self.indices, frame)
        self.shard.prepare(self.centres)

    def summary(self) -> tuple[int, FloatArray, float]:
        """Count and sum the rows, (D,), and find the smallest squared length; all in the frame."""
        return len(self.shard), self.shard.total, float(self.shard.sq_norm.min(initial=np.inf))

    def within(self, limit: float) -> IndexArray:
        """List the pool indices of rows with squared length up to `limit`."""
        found: IndexArray = self.shard.ids[self.shard.sq_norm <= limit]
        return found

    def start_from(self, index: int) -> None:
        """Make a row of the pool the first centre."""
        if not len(self.centres):
            frame = self.centres.frame
            x = frame.place(read_rows(self.rows, as_key(np.array([index])), frame.origin.dtype))
            self.centres.append(np.array([index]), x, sq_norms(x))
        shard = self.shard
        shard.catch_up(np.arange(len(shard)), self.centres)
        shard.lower[shard.ids == index] = shard.upper[shard.ids == index] = -np.inf

    def candidates(self, count: int) -> Candidates:
        """Put forward the `count` foremost rows."""
        return self.shard.top_candidates(count, self.centres)

    def absorb(
        self,
        lower: FloatArray,
        upper: FloatArray,
        first: int,
        picks: tuple[IndexArray, FloatArray, FloatArray],
    ) -> None:
        """Take back the intervals of the candidates, and the centres from number `first` on: ids, x, sq_norm."""
        known = len(self.centres) - first
        if known < len(picks[0]):
            self.centres.append(picks[0][known:], picks[1][known:], picks[2][known:])
        self.shard.absorb(lower, upper, self.centres, first)


def labeled_centres(rows: Rows, labeled: IndexArray, frame: Frame, capacity: int) -> Centres:
    """Begin a list of at most `capacity` centres with the labeled rows."""
    centres = Centres(frame, rows.shape[1], capacity)
    for start in range(0, len(labeled), CHUNK):
        ids = labeled[start : start + CHUNK]
        x = frame.place(read_rows(rows, as_key(ids), frame.origin.dtype))
        centres.append(ids, x, sq_norms(x))
    return centres


def k_center(
    rows: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    batch_size: int,
    *,
    first: Literal["center", "mean", "random"] = "mean",
    rng: np.random.Generator | None = None,
    n_shards: int = 1,
    team: Team | None = None,
    before: IndexArray | None = None,
    on_picks: Callable[[IndexArray], None] | None = None,
) -> KCenterPicks:
    """Repeatedly pick the unlabeled row farthest from all labeled and picked rows.

    Ties go to the lowest pool index. When only copies of labeled and picked rows are left, the lowest pool
    indices follow.

    Parameters
    ----------
    rows : (N, D) float, in memory or not
    labeled : (L,) int64 pool indices; may be empty
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : 1 <= B <= U
    first : start without labeled rows: the 1-centre of the unlabeled rows (the row whose farthest row is nearest;
        beyond `ONE_CENTRE_ROWS` rows the row nearest their mean), the row nearest their mean, or a random one
    rng : needed for first="random"
    n_shards : parts into which the unlabeled rows are cut; the picks are the same for any number
    team : a `Part` for each stretch of `unlabeled`, wherever they live; instead of n_shards
    before : (b,) int64, the first b picks of a run that was interrupted, b < B; the others are the same as then.
        The parts of the team must hold the rows of `unlabeled` without them, and `labeled` followed by them.
    on_picks : called with the picks so far whenever there are new ones

    Returns
    -------
    KCenterPicks

    Notes
    -----
    Memory: about 24 B a row, 260 B more where the low-dimensional bound pays, 4 (L + B) D for the centres, and
    at most 0.3 GB of blocks and active rows. Time: far below the U (L + B) D of the plain loop on data with a
    decaying spectrum; at worst that, as matrix products.
    """
    frame = fit_frame(rows, unlabeled, len(labeled) + batch_size)
    capacity = len(labeled) + batch_size + 1
    known = labeled if before is None else np.concatenate([labeled, before])
    centres = labeled_centres(rows, known, frame, capacity)
    if team is None:
        free = unlabeled if before is None else np.setdiff1d(unlabeled, before)
        team = Here([Part(rows, indices, known) for indices in np.array_split(free, n_shards)])
        team.call("begin", frame, capacity, centres)
    else:
        team.call("begin", frame, capacity)

    def fetch(ids: IndexArray) -> FloatArray:
        return load_rows(rows, ids, np.float64)

    if not len(known):
        if first == "random" and rng is not None:
            start_id = int(rng.choice(unlabeled))
        elif first == "center" and len(unlabeled) <= ONE_CENTRE_ROWS:
            start_id = one_center(rows, unlabeled)
        else:
            start_id = _nearest_to_mean(team, frame, fetch)
        x = frame.place(read_rows(rows, as_key(np.array([start_id])), frame.origin.dtype))
        centres.append(np.array([start_id]), x, sq_norms(x))
        team.call("start_from", start_id)
    extra = batch_size + 1 if batch_size < len(unlabeled) else batch_size  # one more tells the radius that is left
    tell = None if on_picks is None else functools.partial(_tell_picks, on_picks, centres, len(labeled))
    run_windows(team, centres, len(labeled) + extra, fetch, tell)
    return _report(centres, len(labeled), batch_size, fetch)


def _tell_picks(on_picks: Callable[[IndexArray], None], centres: Centres, n_labeled: int) -> None:
    on_picks(centres.ids[n_labeled:].copy())


def run_windows(
    team: Team, centres: Centres, target: int, fetch: Fetch, tell: Callable[[], None] | None = None
) -> None:
    """Pick until there are `target` centres; `tell` is called after every window with picks."""
    width = 256
    with task("choosing rows", target) as work:
        work.advance(len(centres))
        while len(centres) < target:
            before = len(centres)
            share = max(64, 4 * width // team.size) if team.size > 1 else width
            parts: list[Candidates] = team.call("candidates", share)
            window = merge(parts)
            picks = pick_in_window(window, centres, target - before, fetch)
            edges = np.cumsum([0, *(len(part.ids) for part in parts)])
            new = (centres.ids[before:], centres.x[before:], centres.sq_norm[before:])
            own = [(window.lower[i:j], window.upper[i:j], before, new) for i, j in pairwise(edges)]
            team.call_each("absorb", own)
            if not picks or len(picks) > width // 4:
                width = min(2 * width, CHUNK)
            elif len(picks) < width // 16:
                width = max(width // 2, 64)
            if tell is not None and picks:
                tell()
            work.advance(len(picks))


def _nearest_to_mean(team: Team, frame: Frame, fetch: Fetch) -> int:
    """Pool index of the unlabeled row nearest the mean of all; lowest index among equals.

    The frame's origin is close to the mean, so only rows about as close to it as the closest can be nearest.
    """
    summaries = team.call("summary")
    n = sum(rows for rows, _, _ in summaries)
    offset: FloatArray = np.sum([total for _, total, _ in summaries], axis=0) / n  # (D,) mean, seen from the origin
    reach = np.sqrt(min(shortest for _, _, shortest in summaries))
    limit = float((reach * (1 + 1e-5) + 2 * np.sqrt(offset @ offset)) ** 2 * (1 + 1e-5))
    mean = frame.origin.astype(np.float64) + offset / frame.scale
    best = (np.inf, -1)
    for near in team.call("within", limit):
        for start in range(0, len(near), CHUNK):
            ids = near[start : start + CHUNK]
            d = _round(sq_norms((fetch(ids) - mean) * frame.scale))
            best = min(best, (float(d.min()), int(ids[d.argmin()])))
    return best[1]


def _report(centres: Centres, n_labeled: int, batch_size: int, fetch: Fetch) -> KCenterPicks:
    """Measure each pick's distance to the nearest earlier centre exactly."""
    total = len(centres)
    distance, nearest = np.zeros(total - n_labeled), np.full(total - n_labeled, -1, dtype=np.int64)
    start = max(n_labeled, 1)
    while start < total:
        stop = min(total, start + int(np.clip(PAIR_BLOCK // total, 16, 256)))
        x, sq_norm = centres.x[start:stop], centres.sq_norm[start:stop]
        guess = _guess(x, sq_norm, centres.reached[start:stop], centres, np.arange(start, stop))
        value, which = exact_value(centres.ids[start:stop], sq_norm, guess, centres, fetch)
        distance[start - n_labeled : stop - n_labeled] = np.sqrt(value) / centres.frame.scale
        nearest[start - n_labeled : stop - n_labeled] = which
        start = stop
    for i in np.flatnonzero((distance == 0) & (nearest >= n_labeled)):  # a copy of a copy is a copy of the first
        j = nearest[i] - n_labeled
        if distance[j] == 0 and nearest[j] >= 0:
            nearest[i] = nearest[j]
    nearest[nearest >= 0] = centres.ids[nearest[nearest >= 0]]
    cover = float(distance[batch_size]) if total > n_labeled + batch_size else 0.0
    if not n_labeled:
        distance[0] = distance[1] if len(distance) > 1 else 0.0
    picked = slice(n_labeled, n_labeled + batch_size)
    return KCenterPicks(centres.ids[picked].copy(), distance[:batch_size], nearest[:batch_size], cover)
