"""Scores of rows of class scores: margin, entropy, least confidence, and distances to decision boundaries.

Every function takes one (n, C) block, works on it in pieces that stay in the processor's cache, and
answers in the block's own precision (float32 or float64). Higher uncertainty means query sooner.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolwise.kernels import compiled
from poolwise.kernels.coarse import Bounds
from poolwise.types import Array, BoolArray, FloatArray, IndexArray

PIECE_BYTES = 2**18
"""Size of the pieces in which a block is worked on."""

SMALLEST_PROB = 1e-30
"""Probabilities below it count as it before a logarithm."""

SURE_SUM = 0.99e-3
"""A sum this close to 1 is accepted by `blocks.check_block` as well, however the sums are rounded."""

ROUNDING = 1e-6
"""Margins and least confidences in float32 are nearer than this to their float64 values: a few roundings of 6e-8."""


def by_pieces(
    function: Callable[[FloatArray], FloatArray], block: FloatArray, piece_bytes: int = PIECE_BYTES
) -> FloatArray:
    """Apply a row-wise function to (n, C) rows piece by piece; returns (n,) in the block's dtype."""
    out = np.empty(len(block), dtype=block.dtype)
    for part in _parts(block, piece_bytes):
        out[part] = function(block[part])
    return out


NARROW = 192
"""Up to so many columns, rows are compared side by side in a transposed copy: a loop per row would cost more."""

NARROW_BYTES = 3 * 2**18
"""Size of the pieces that are transposed; measured on float32 with 10 and 100 columns."""


def row_max(block: FloatArray) -> FloatArray:
    """Return the largest value of each row, (n,)."""
    return by_pieces(_row_max_narrow, block, NARROW_BYTES) if _is_narrow(block) else np.asarray(block.max(axis=1))


def _row_max_narrow(block: Array) -> Array:
    lanes, rest = _lanes(block)
    best: Array = np.ascontiguousarray(lanes.max(axis=0).T).max(axis=0)  # (n, lanes) to (n,)
    for column in rest:
        np.maximum(best, column, out=best)
    return best


def top_two(block: Array) -> tuple[Array, Array]:
    """Find the largest and the second largest value of each row, (n,) each.

    With one column the second is -inf, or 0 where the values are unsigned integers.
    """
    first, second = np.empty((2, len(block)), dtype=block.dtype)
    for part in _parts(block):
        first[part], second[part] = _top_two_of_piece(block[part])
    return first, second


def _parts(block: Array, piece_bytes: int | None = None) -> Iterator[slice]:
    """Rows of the pieces in which a block is worked on, by default as suits comparisons."""
    size = piece_bytes or (NARROW_BYTES if _is_narrow(block) else PIECE_BYTES)
    step = max(1, size // max(1, block[:1].nbytes))
    for start in range(0, len(block), step):
        yield slice(start, start + step)


def _top_two_of_piece(block: Array) -> tuple[Array, Array]:
    if _is_narrow(block):
        return _top_two_narrow(block)
    return _top_two_wide(block) if block.shape[1] >= 4 else _running_top_two(block.T)


def _top_two_wide(block: Array) -> tuple[Array, Array]:
    """The same for four columns or more.

    Columns j and j + C // 2 meet first; the second largest is the partner of the winner, or the winner of another pair.
    """
    row, half = np.arange(len(block)), block.shape[1] // 2
    winners = np.maximum(block[:, :half], block[:, half : 2 * half])  # (n, C // 2)
    odd = block.shape[1] % 2
    if odd:
        np.maximum(winners[:, 0], block[:, -1], out=winners[:, 0])
    pair = winners.argmax(axis=1)
    first = winners[row, pair]
    left = np.minimum(block[row, pair], block[row, pair + half])
    if odd:
        trio = np.flatnonzero(pair == 0)
        left[trio] = np.sort(block[trio][:, [0, half, -1]], axis=1)[:, 1]
    winners[row, pair] = left
    return first, np.asarray(winners.max(axis=1))


def _top_two_narrow(block: Array) -> tuple[Array, Array]:
    lanes, rest = _lanes(block)
    best, others = (np.ascontiguousarray(values.T) for values in _top_two_by_grid(lanes))  # (lanes, n)
    first, second = _running_top_two([*best, *rest])
    return first, np.maximum(second, others.max(axis=0))


def _top_two_by_grid(rows: Array) -> tuple[Array, Array]:
    """The two largest values of each place in arrays of one shape: (k, ...) to (...) and (...).

    The arrays are laid out as a grid. The second largest of a place lies in another row or in another column of it than
    the largest, so that the largest of each row and of each column, which cost one operation a value, tell both.
    """
    height = math.isqrt(len(rows))
    if height < 2:
        return _running_top_two(rows)
    width = len(rows) // height
    grid = rows[: height * width].reshape(height, width, *rows.shape[1:])
    first, second = _running_top_two([*grid.max(axis=0), *rows[height * width :]])
    return first, np.maximum(second, _running_top_two(grid.max(axis=1))[1], out=second)


def _running_top_two(rows: Array | list[Array]) -> tuple[Array, Array]:
    """Walk over arrays of one shape and keep the two largest values of each place."""
    if len(rows) == 1:
        return rows[0], np.full_like(rows[0], 0 if rows[0].dtype.kind == "u" else -np.inf)
    first, second = np.maximum(rows[0], rows[1]), np.minimum(rows[0], rows[1])
    loser = np.empty_like(first)
    for row in rows[2:]:
        np.minimum(first, row, out=loser)
        np.maximum(second, loser, out=second)
        np.maximum(first, row, out=first)
    return first, second


def _is_narrow(block: Array) -> bool:
    lanes = 16 // block.dtype.itemsize
    return lanes <= block.shape[1] <= NARROW and block.strides[1] == block.dtype.itemsize


def _lanes(block: Array) -> tuple[Array, Array]:
    """Transpose rows in steps of 16 bytes, the largest element NumPy moves at once.

    Returns
    -------
    (C // lanes, n, lanes) contiguous, and (C % lanes, n) left-over columns. A lane is every 4th (float64: 2nd) column.
    """
    lanes = 16 // block.dtype.itemsize
    whole = block.shape[1] // lanes * lanes
    wide = np.ascontiguousarray(block[:, :whole].view(np.complex128).T)  # only moved, never computed with
    return wide.view(block.dtype).reshape(len(wide), len(block), lanes), block[:, whole:].T


def margin(probs: FloatArray) -> FloatArray:
    """Return 1 - (largest - second largest probability), (n,) in [0, 1]."""
    first, second = top_two(probs)
    return np.asarray(1 - first + np.maximum(second, 0))


def judged_margin(probs: FloatArray) -> FloatArray:
    """Return `margin`, but NaN where a row may hold NaN, inf or no probabilities."""
    fast = compiled.forms(probs)
    if fast is not None:
        out = np.empty(len(probs), dtype=np.float32)
        fast.judged_margin(probs, SURE_SUM, out)
        return out
    total, first, second = np.empty((3, len(probs)), dtype=probs.dtype)
    bits = _bits(probs)
    for part in _parts(probs):
        total[part] = _row_sum(probs[part])  # first: it reads the rows in order, into the cache
        first.view(bits.dtype)[part], second.view(bits.dtype)[part] = _top_two_of_piece(bits[part])
    return _where_sure(total, first, 1 - first + second)


def margin_of_logits(logits: FloatArray) -> FloatArray:
    """Return `margin` of softmax(logits) without building the probabilities."""

    def piece(z: FloatArray) -> FloatArray:
        first, second = top_two(z)
        total = _exp_sum(z - first[:, None])
        return np.asarray(1 - (1 - np.exp(second - first)) / total)

    return by_pieces(piece, logits)


def margin_misses(floor: float, bounds: Bounds) -> BoolArray:
    """Say which rows surely have `margin_of_logits` below a floor: with a gap g, p1 - p2 = (1 - e^-g) / mass."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray((1 - np.exp(-bounds.gap)) / bounds.mass > 1 - floor + ROUNDING)


def least_confidence(probs: FloatArray) -> FloatArray:
    """Return 1 - largest probability, (n,) in [0, 1 - 1/C]."""
    return by_pieces(lambda p: np.asarray(1 - row_max(p)), probs)


def judged_least_confidence(probs: FloatArray) -> FloatArray:
    """Return `least_confidence`, but NaN where a row may hold NaN, inf or no probabilities."""
    total, first = np.empty((2, len(probs)), dtype=probs.dtype)
    bits = _bits(probs)
    for part in _parts(probs):
        total[part] = _row_sum(probs[part])
        first.view(bits.dtype)[part] = row_max(bits[part])
    return _where_sure(total, first, 1 - first)


def least_confidence_of_logits(logits: FloatArray) -> FloatArray:
    """Return `least_confidence` of softmax(logits) without building the probabilities."""

    def piece(z: FloatArray) -> FloatArray:
        total = _exp_sum(z - row_max(z)[:, None])
        return (total - 1) / total

    return by_pieces(piece, logits)


def least_confidence_misses(floor: float, bounds: Bounds) -> BoolArray:
    """Say which rows surely have `least_confidence_of_logits` below a floor: p1 = 1 / mass."""
    with np.errstate(invalid="ignore"):
        return np.asarray((1 / bounds.mass > 1 - floor + ROUNDING) & (bounds.gap > -np.inf))


def entropy(probs: FloatArray) -> FloatArray:
    """Return the entropy in nats, (n,) in [0, log C]; probabilities count as 1e-30 at least."""

    def piece(p: FloatArray) -> FloatArray:
        logs = np.maximum(p, p.dtype.type(SMALLEST_PROB))
        np.log(logs, out=logs)
        logs *= p
        return 0 - _row_sum(logs)  # not -0.0

    return by_pieces(piece, probs)


def judged_entropy(probs: FloatArray) -> FloatArray:
    """Return `entropy`, but NaN where a row, or one near it, may hold NaN, inf or no probabilities."""
    total, sign, out = np.empty((3, len(probs)), dtype=probs.dtype)
    for part in _parts(probs, PIECE_BYTES):
        total[part] = _row_sum(probs[part])
        sign[part] = 1 if probs[part].min() >= 0 else -1
        out[part] = entropy(probs[part])
    return _where_sure(total, sign, out)


def entropy_of_logits(logits: FloatArray) -> FloatArray:
    """Return `entropy` of softmax(logits) in one max-shifted pass: log Z - sum p z."""

    def piece(z: FloatArray) -> FloatArray:
        shifted = z - row_max(z)[:, None]  # (n, C), <= 0
        weights = np.exp(shifted)
        total = _row_sum(weights)
        shifted *= weights
        return np.log(total) - _row_sum(shifted) / total

    return by_pieces(piece, logits)


def _bits(probs: FloatArray) -> Array:
    """Bits as unsigned integers: those of floats >= 0 are ordered as the floats, those of negative ones lie above."""
    return probs.view(f"u{probs.dtype.itemsize}")


def _where_sure(total: FloatArray, positive: FloatArray, score: FloatArray) -> FloatArray:
    """Return the score of rows that sum to 1, a little more strictly than they must, if `positive` is; else NaN."""
    return np.where((positive > 0) & (np.abs(total - 1) <= SURE_SUM), score, score.dtype.type(np.nan))


def _row_sum(block: FloatArray) -> FloatArray:
    return np.asarray(block @ np.ones(block.shape[1], dtype=block.dtype))


def _exp_sum(shifted: FloatArray) -> FloatArray:
    np.exp(shifted, out=shifted)
    return _row_sum(shifted)


class Boundaries:
    """Distances in embedding space to the hyperplanes between the classes of a linear head.

    Source: Emam et al., "Active Learning at the ImageNet Scale", arXiv:2111.12880.

    Parameters
    ----------
    head_weight : (C, D) float

    Notes
    -----
    Time O(C^2 D), memory one (C, C) table in float64 and one in float32. Two classes with equal weights have no
    boundary: their distance is infinite, and `equal_pairs` counts them.
    """

    def __init__(self, head_weight: Array) -> None:
        weight = np.asarray(head_weight, dtype=np.float64)
        gaps = _row_gaps(weight)  # (C, C)
        equal = gaps == 0
        self.n_classes = len(weight)
        self.equal_pairs = int(np.count_nonzero(equal) - len(weight)) // 2
        self._equal = equal if self.equal_pairs else None
        widest = gaps.max(axis=1)
        self._slope = np.divide(1.0, widest, out=np.zeros(len(weight)), where=widest > 0)  # (C,) distance per logit
        self.inverse: NDArray[np.float64] = np.divide(1.0, gaps, out=gaps, where=~equal)
        self._tables: dict[Any, FloatArray] = {
            np.dtype(np.float64): self.inverse,
            np.dtype(np.float32): self.inverse.astype(np.float32),
        }

    def distances(self, logits: FloatArray) -> tuple[FloatArray, IndexArray, IndexArray]:
        """Measure how far each row is from each class.

        Returns
        -------
        distances : (n, C). In the column of another class: distance to the boundary between it and the predicted
            class. In the column of the predicted class: distance to the nearest boundary.
        predicted : (n,) the class with the largest logit, the first of equals
        rival : (n,) the class behind the nearest boundary
        """
        row = np.arange(len(logits))
        predicted = logits.argmax(axis=1)
        out = np.take(self._tables[logits.dtype], predicted, axis=0)  # (n, C)
        out *= logits[row, predicted][:, None] - logits
        if self._equal is not None:
            out[self._equal[predicted]] = np.inf
        out[row, predicted] = np.inf
        rival = out.argmin(axis=1)
        out[row, predicted] = out[row, rival]
        return out, predicted, rival

    def nearest(self, logits: FloatArray) -> FloatArray:
        """Return the distance of each row to the nearest boundary, (n,) >= 0."""
        fast = compiled.forms(logits)
        if fast is not None:
            out = np.empty(len(logits), dtype=np.float32)
            fast.nearest_boundary(logits, self._tables[logits.dtype], out)
            return out

        def piece(z: FloatArray) -> FloatArray:
            distances, predicted, _ = self.distances(z)
            return np.asarray(distances[np.arange(len(z)), predicted])

        return by_pieces(piece, logits)

    def misses(self, distance: float, bounds: Bounds) -> BoolArray:
        """Say which rows surely are farther than `distance` from the nearest boundary."""
        slope = (self._slope * (1 - 1e-5)).astype(np.float32)
        with np.errstate(invalid="ignore"):  # one class: inf * 0
            return np.asarray(bounds.gap * slope[bounds.top] > distance)

    def nearest_within(self, logits: FloatArray, limit: float) -> FloatArray:
        """Return what `nearest` does where that is up to `limit`, and +inf or that where it is above, (n,).

        Most rows are ruled out by the gap of their two largest logits over the largest |w_k - w_j| of any class, or of
        their class.
        """
        if limit == np.inf or compiled.forms(logits) is not None:
            return self.nearest(logits)
        slope = (self._slope * (1 - 1e-5)).astype(logits.dtype)  # rounding must not rule out a row

        def piece(z: FloatArray) -> FloatArray:
            first, second = top_two(z)
            gap = first - second
            out = np.full(len(z), np.inf, dtype=z.dtype)
            with np.errstate(invalid="ignore"):  # one class: inf * 0
                near = np.flatnonzero(gap * slope.min() <= limit)
                near = near[gap[near] * slope[z[near].argmax(axis=1)] <= limit]
            if len(near):
                out[near] = self.nearest(z[near])
            return out

        return by_pieces(piece, logits, 4 * PIECE_BYTES)


def _row_gaps(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances between all rows, (C, C); where the short formula loses digits, from the differences."""
    squares = weight @ weight.T
    norms = np.diag(squares).copy()
    squares *= -2
    squares += norms
    squares += norms[:, None]
    np.fill_diagonal(squares, np.inf)
    if len(weight) > 1 and squares.min() <= 2e-6 * norms.max():  # some pair may be near: look at each
        for j in range(len(weight)):
            columns = np.flatnonzero(squares[j] <= 1e-6 * (norms + norms[j]))
            squares[j, columns] = ((weight[columns] - weight[j]) ** 2).sum(axis=1)
    np.fill_diagonal(squares, 0.0)
    return np.sqrt(np.maximum(squares, 0, out=squares), out=squares)
