"""Greedy maximisation of set functions whose gains only fall: facility location and determinants (k-DPP).

A gain computed earlier bounds the present one from above, so only rows that could come first are computed again:
the picks are those of plain greedy. Larger gain first, then lower position.

Sources: Minoux, "Accelerated greedy algorithms for maximizing submodular set functions", 1978 (lazy greedy);
Chen, Zhang & Zhou, "Fast greedy MAP inference for determinantal point process", NeurIPS 2018 (Algorithm 1).
Differs from the paper: the basis of the picks (k x D) is kept in place of Cholesky rows (N x k).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from scipy.sparse import csr_matrix

from poolwise.errors import InputError
from poolwise.kernels.blocks import as_key, iter_blocks, read_rows
from poolwise.kernels.distances import sq_norms
from poolwise.types import Array, FloatArray, IndexArray, Rows

DENSE_LIMIT = 20_000
"""Rows up to which all pairs of similarities may be computed."""

KEEP_BYTES = 64 * 2**20
"""A similarity matrix up to this size is kept rather than computed again."""

RANK_TOLERANCE = 1e-6
"""A residual below this share of the first pick's counts as none: the rank is exhausted."""

TIE = 1e-11
"""Residuals this close, relative to the largest squared length, are equal."""

NORM_ROWS = 512
"""Rows whose squared lengths are computed together: their float64 copy stays in the cache."""

AGED_ROWS = 96
"""Rows of about the same age that are brought up to date by one product."""

FIRST, USUAL, WIDEST = 256, 768, 1024
"""Rows in a window: of the first, of one after few picks from a window, and of one after many (measured, D = 512)."""

Metric = Literal["cosine", "rbf"]


def lazy_greedy(
    upper: FloatArray,
    gains: Callable[[IndexArray], FloatArray],
    take: Callable[[int], None],
    count: int,
    *,
    most_at_once: int = 32,
) -> tuple[IndexArray, FloatArray]:
    """Pick `count` items greedily, computing again only the gains that could be the largest.

    Parameters
    ----------
    upper : (n,) upper bounds of the gains before the first pick; -inf keeps an item out
    gains : current gains (m,) of some positions; must never grow after a pick
    take : called with each pick
    count : at most the number of items with a bound above -inf
    most_at_once : gains asked for together

    Returns
    -------
    (count,) int64 positions in order of choice, and (count,) float64 gains.
    """
    heap = [(-float(bound), pos) for pos, bound in enumerate(upper) if bound > -np.inf]
    heapq.heapify(heap)
    computed_in = np.full(len(upper), -1, dtype=np.int64)
    picks, values = np.empty(count, dtype=np.int64), np.empty(count)
    for number in range(count):
        together = 1
        while computed_in[heap[0][1]] != number:
            stale: list[int] = []
            while heap and len(stale) < together and computed_in[heap[0][1]] != number:
                stale.append(heapq.heappop(heap)[1])
            for gain, pos in zip(gains(np.array(stale)).tolist(), stale, strict=True):
                heapq.heappush(heap, (-gain, pos))
                computed_in[pos] = number
            together = min(2 * together, most_at_once)
        negative, pos = heapq.heappop(heap)
        picks[number], values[number] = pos, -negative
        take(pos)
    return picks, values


class Similarity(Protocol):
    """How much each item covers each other one, >= 0."""

    def __len__(self) -> int: ...

    def cover(self, pos: int, covered: FloatArray) -> None:
        """Raise covered (n,) float64 to what item `pos` covers."""

    def gains(self, pos: IndexArray, covered: FloatArray) -> FloatArray:
        """Sum over all items of what each of some positions covers beyond `covered`: (m,) float64."""


class PairSimilarity:
    """Similarities computed from rows when they are asked for.

    Parameters
    ----------
    x : (n, D) float
    metric : "cosine" is max(0, cosine); "rbf" is exp(-gamma |x - y|^2)
    gamma : for "rbf"; default 1 over twice the mean squared distance of two rows
    """

    def __init__(self, x: FloatArray, metric: Metric = "cosine", gamma: float | None = None) -> None:
        self.metric = metric
        x = np.asarray(x, dtype=np.float32)
        if metric == "cosine":
            length = np.sqrt(sq_norms(x))
            self.x = x / np.where(length > 0, length, 1)[:, None]
        else:
            self.x = x - x.mean(axis=0)
        self.sq_norm = sq_norms(self.x)
        mean_sq_distance = 2 * float(self.sq_norm.mean(dtype=np.float64))
        self.gamma = gamma if gamma is not None else 1 / (2 * mean_sq_distance) if mean_sq_distance > 0 else 1.0

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, pos: IndexArray | slice) -> FloatArray:
        """Similarities (m, n) float32 of some items to all."""
        s: FloatArray = self.x[pos] @ self.x.T
        if self.metric == "cosine":
            return np.maximum(s, 0, out=s)
        s *= 2
        s -= self.sq_norm
        s -= self.sq_norm[pos, None]
        np.minimum(s, 0, out=s)
        s *= np.float32(self.gamma)
        return np.exp(s, out=s)


class DenseSimilarity:
    """Similarities of all pairs; kept up to `KEEP_BYTES`, else computed by row blocks when they are asked for.

    Parameters
    ----------
    pairs : (n, n) float matrix of what row item j covers of column item i, >= 0; or PairSimilarity

    Raises
    ------
    InputError
        If there are more items than `DENSE_LIMIT`.
    """

    def __init__(self, pairs: PairSimilarity | FloatArray) -> None:
        if len(pairs) > DENSE_LIMIT:
            raise InputError(
                f"facility location over all pairs takes at most {DENSE_LIMIT} rows; got {len(pairs)}. "
                "Use knn_similarity(x, k) instead, or a sample of the rows."
            )
        self.pairs = pairs
        if isinstance(pairs, PairSimilarity) and 4 * len(pairs) ** 2 <= KEEP_BYTES:
            self.pairs = pairs.rows(slice(0, len(pairs)))

    def __len__(self) -> int:
        return len(self.pairs)

    def rows(self, pos: IndexArray) -> FloatArray:
        """Similarities (m, n) of some items to all."""
        return self.pairs.rows(pos) if isinstance(self.pairs, PairSimilarity) else self.pairs[pos]

    def cover(self, pos: int, covered: FloatArray) -> None:
        np.maximum(covered, self.rows(np.array([pos]))[0], out=covered)

    def gains(self, pos: IndexArray, covered: FloatArray) -> FloatArray:
        out = np.empty(len(pos))
        for start in range(0, len(pos), 256):
            rows = self.rows(pos[start : start + 256])
            more = rows - covered.astype(rows.dtype)  # lossless: what is covered comes from such rows
            out[start : start + 256] = np.maximum(more, 0, out=more).sum(axis=1, dtype=np.float64)
        return out


class SparseSimilarity:
    """Similarities of which only the largest are known; the others count as 0.

    An explicit approximation: `k` and `lost` belong in the notes of whatever is chosen with it.

    Parameters
    ----------
    neighbors, values : (n, k) which k items cover each item best, and how much, >= 0
    lost : share of the summed similarity of all pairs that was dropped, or NaN if it is not known
    """

    def __init__(self, neighbors: Array, values: FloatArray, lost: float = np.nan) -> None:
        n, self.k = neighbors.shape[0], neighbors.shape[1]
        self.lost = lost
        starts = np.arange(0, n * self.k + 1, self.k)
        by_item = csr_matrix((np.ravel(values), np.ravel(neighbors), starts), shape=(n, n))
        by_coverer = by_item.T.tocsr()
        self._n = int(n)
        self._starts, self._items = by_coverer.indptr.astype(np.int64), by_coverer.indices
        self._values = by_coverer.data.astype(np.float64)

    def __len__(self) -> int:
        return self._n

    def cover(self, pos: int, covered: FloatArray) -> None:
        here = slice(self._starts[pos], self._starts[pos + 1])
        items = self._items[here]
        covered[items] = np.maximum(covered[items], self._values[here])

    def gains(self, pos: IndexArray, covered: FloatArray) -> FloatArray:
        first, length = self._starts[pos], self._starts[pos + 1] - self._starts[pos]
        owner = np.repeat(np.arange(len(pos)), length)
        at = np.arange(len(owner)) - np.repeat(np.cumsum(length) - length, length) + first[owner]
        more = np.maximum(self._values[at] - covered[self._items[at]], 0)
        out: FloatArray = np.bincount(owner, weights=more, minlength=len(pos)).astype(np.float64)
        return out


def knn_similarity(x: FloatArray, k: int, metric: Metric = "cosine", gamma: float | None = None) -> SparseSimilarity:
    """Keep the k largest similarities of each row, itself included.

    Parameters
    ----------
    x : (n, D) float
    k : 1 <= k; more than n counts as n

    Returns
    -------
    SparseSimilarity that knows the share of similarity it lost.

    Notes
    -----
    Time n^2 D as matrix products; memory 12 n k B and one block.
    """
    n, k = len(x), min(k, len(x))
    pairs = PairSimilarity(x, metric, gamma)
    neighbors, values = np.empty((n, k), dtype=np.int32), np.empty((n, k), dtype=np.float32)
    total = kept = 0.0
    step = max(16, 2**23 // max(1, n))
    for start in range(0, n, step):
        s = pairs.rows(slice(start, min(start + step, n)))
        best = np.argpartition(s, n - k, axis=1)[:, n - k :]
        neighbors[start : start + step] = best
        values[start : start + step] = np.take_along_axis(s, best, axis=1)
        total += float(s.sum(dtype=np.float64))
        kept += float(values[start : start + step].sum(dtype=np.float64))
    return SparseSimilarity(neighbors, values, 1 - kept / total if total > 0 else 0.0)


def facility_location(
    similarity: Similarity,
    count: int,
    *,
    candidates: IndexArray | None = None,
    given: IndexArray | None = None,
) -> tuple[IndexArray, FloatArray]:
    """Pick the items that best cover all items: greedy for sum_i max_j s_ij, at least 1 - 1/e of the optimum.

    Parameters
    ----------
    similarity : DenseSimilarity or SparseSimilarity over n items
    count : 1 <= count <= number of candidates
    candidates : positions that may be picked, default all
    given : positions that cover already, such as labeled items

    Returns
    -------
    (count,) int64 positions in order of choice, and (count,) float64 gains, which never increase.
    """
    covered = np.zeros(len(similarity))
    for pos in () if given is None else given.tolist():
        similarity.cover(pos, covered)
    wanted = np.arange(len(similarity)) if candidates is None else candidates
    upper = np.full(len(similarity), -np.inf)
    upper[wanted] = similarity.gains(wanted, covered)
    return lazy_greedy(
        upper, lambda pos: similarity.gains(pos, covered), lambda pos: similarity.cover(pos, covered), count
    )


@dataclass(frozen=True, slots=True)
class DppPicks:
    """Rows chosen by greedy k-DPP.

    indices : (k,) int64 pool indices, in order of choice; fewer than asked for where the rank is exhausted
    residual : (k,) float64 squared length of each pick outside the span of the earlier ones; the sum of
        their logarithms is the log-determinant of the chosen rows' Gram matrix
    exhausted : the rows left lie in the span of the picks, so any further one would make the determinant 0
    """

    indices: IndexArray
    residual: FloatArray
    exhausted: bool


def greedy_k_dpp(rows: Rows, indices: IndexArray, count: int, *, quality: FloatArray | None = None) -> DppPicks:
    """Pick rows greedily for the largest determinant of their Gram matrix (MAP of a k-DPP, linear kernel).

    Parameters
    ----------
    rows : (N, D) float, streamed
    indices : (n,) int64 sorted pool indices of the rows that may be picked
    count : k >= 1; more than n counts as n
    quality : (n,) float > 0 that scales each row (quality-diversity kernel), or None

    Returns
    -------
    DppPicks. Ties go to the lowest pool index.

    Notes
    -----
    Float64 throughout. Time at most n k D as matrix products, one pass over the rows and reads of those that
    come into question; memory 20 B a row, k D for the basis, and a window of at most 1024 rows (more where rows tie).
    """
    count = min(count, len(indices))
    upper = np.empty(len(indices))
    for start, block in iter_blocks(rows, indices, block_rows=NORM_ROWS, dtype=np.float64):
        upper[start : start + len(block)] = sq_norms(block)
    if quality is not None:
        upper *= np.square(quality, dtype=np.float64)
    upto = np.zeros(len(indices), dtype=np.int32)
    basis = np.empty((min(count, rows.shape[1]), rows.shape[1]))
    tie = TIE * float(upper.max(initial=0.0))
    picks: list[int] = []
    residual: list[float] = []
    width = FIRST
    while len(picks) < len(basis):
        pos, rest = _largest(upper, width)
        pos = pos[np.lexsort((pos, upto[pos]))]  # rows of the same age together
        x = read_rows(rows, as_key(indices[pos]), np.float64)
        if quality is not None:
            x = x * quality[pos, None]
        _project_out(x, pos, upper, upto, basis[: len(picks)])
        before = len(picks)
        floor = RANK_TOLERANCE * residual[0] if residual else 0.0
        left = upper[pos]
        for at, value in _pick_by_residual(x, pos, left, rest, floor, tie, basis, before):
            picks.append(int(pos[at]))
            residual.append(value)
        upper[pos], upto[pos] = left, len(picks)
        if len(picks) == before and upper.max() <= floor:
            break
        width = _next_width(width, len(picks) - before, len(indices))
    return DppPicks(indices[picks], np.array(residual), len(picks) < count)


def _largest(upper: FloatArray, count: int) -> tuple[IndexArray, float]:
    """Positions of the `count` largest values, and the largest value that is left, -inf if none is."""
    left = len(upper) - count
    if left <= 0:
        return np.arange(len(upper)), -np.inf
    order = np.argpartition(upper, left - 1)
    return order[left:], float(upper[order[left - 1]])


def _next_width(width: int, picked: int, n: int) -> int:
    if picked == 0:
        return min(2 * width, n)  # ties: all equal rows must be seen together
    return min(2 * width, WIDEST) if picked > width // 4 else USUAL


def _project_out(x: FloatArray, pos: IndexArray, upper: FloatArray, upto: Array, basis: FloatArray) -> None:
    """Bring the residuals of the window's rows, oldest first, up to date with the basis; `x` stays as it is."""
    age = upto[pos]
    for start in range(0, int(np.searchsorted(age, len(basis))), AGED_ROWS):
        here = slice(start, start + AGED_ROWS)
        first, last = int(age[here][0]), int(age[here][-1])
        along = basis[first:] @ x[here].T  # (pending, n): few rows against many are the faster way round
        along[: last - first][np.arange(first, last)[:, None] < age[here]] = 0
        upper[pos[here]] -= np.einsum("ij,ij->j", along, along)
    upto[pos] = len(basis)


def _pick_by_residual(
    x: FloatArray,
    pos: IndexArray,
    residual: FloatArray,
    rest: float,
    floor: float,
    tie: float,
    basis: FloatArray,
    known: int,
) -> list[tuple[int, float]]:
    """Pick in the window while the best residual is above everything outside; of equals the lowest of `pos`.

    Extends the basis and lowers the residuals in place; a pick's becomes -inf.
    """
    picks: list[tuple[int, float]] = []
    while known < len(basis):
        best = float(residual.max())
        if best <= floor or best - tie <= rest:
            break
        level = np.flatnonzero(residual >= best - tie)
        at = int(level[pos[level].argmin()])
        q = x[at].copy()
        for _ in range(2):  # once is not enough for float64 orthogonality
            q -= basis[:known].T @ (basis[:known] @ q)
        value = float(q @ q)
        if not picks and known == 0:
            floor = RANK_TOLERANCE * value
        if value <= floor:
            residual[at] = value
            continue
        basis[known] = q / np.sqrt(value)
        residual -= np.square(x @ basis[known])
        residual[at] = -np.inf
        picks.append((at, value))
        known += 1
    return picks
