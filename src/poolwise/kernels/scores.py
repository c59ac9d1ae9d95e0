"""Scores of rows of class scores: margin, entropy, least confidence, and distances to decision boundaries.

Every function takes one (n, C) block, works on it in pieces that stay in the processor's cache, and
answers in the block's own precision (float32 or float64). Higher uncertainty means query sooner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolwise.types import Array, FloatArray, IndexArray

PIECE_BYTES = 2**18
"""Size of the pieces in which a block is worked on."""

SMALLEST_PROB = 1e-30
"""Probabilities below it count as it before a logarithm."""


def by_pieces(function: Callable[[FloatArray], FloatArray], block: FloatArray) -> FloatArray:
    """Apply a row-wise function to (n, C) rows piece by piece; returns (n,) in the block's dtype."""
    out = np.empty(len(block), dtype=block.dtype)
    step = max(1, PIECE_BYTES // max(1, block[:1].nbytes))
    for start in range(0, len(block), step):
        out[start : start + step] = function(block[start : start + step])
    return out


NARROW = 128
"""Up to so many columns, rows are compared side by side in a transposed copy: a loop per row would cost more."""


def row_max(block: FloatArray) -> FloatArray:
    """Return the largest value of each row, (n,)."""
    if block.shape[1] <= NARROW:
        return np.asarray(np.ascontiguousarray(block.T).max(axis=0))
    return np.asarray(block.max(axis=1))


def top_two(block: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Find the largest and the second largest value of each row, (n,) each; with one column the second is -inf."""
    first, second = np.empty((2, len(block)), dtype=block.dtype)
    step = max(1, PIECE_BYTES // max(1, block[:1].nbytes))
    find = _top_two_narrow if block.shape[1] <= NARROW else _top_two_wide
    scratch = np.empty((2 * block.shape[1] + 1) * min(step, len(block)), dtype=block.dtype)
    for start in range(0, len(block), step):
        piece = block[start : start + step]
        first[start : start + step], second[start : start + step] = find(piece, scratch)
    return first, second


def _top_two_wide(block: FloatArray, scratch: FloatArray) -> tuple[FloatArray, FloatArray]:
    row = np.arange(len(block))
    column = block.argmax(axis=1)
    rest = scratch[: block.size].reshape(block.shape)
    np.copyto(rest, block)
    rest[row, column] = -np.inf
    return block[row, column], np.asarray(rest.max(axis=1))


def _top_two_narrow(block: FloatArray, scratch: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Let the columns of the transposed block meet in pairs; winners and best losers go on."""
    n, width = block.shape
    columns = scratch[: n * width].reshape(width, n)
    np.copyto(columns, block.T)
    half = width // 2
    rest = scratch[n * width : n * (width + width - half)].reshape(width - half, n)
    first, second = columns[: width - half], rest  # (C - C // 2, n): in place, winners in front
    np.minimum(columns[:half], columns[width - half :], out=second[:half])
    np.maximum(columns[:half], columns[width - half :], out=first[:half])
    second[half:] = -np.inf
    loser = columns[width - half :]
    width -= half
    while width > 1:
        half = width // 2
        best, other = first[:half], first[width - half : width]
        np.minimum(best, other, out=loser[:half])
        np.maximum(second[:half], second[width - half : width], out=second[:half])
        np.maximum(second[:half], loser[:half], out=second[:half])
        np.maximum(best, other, out=best)
        width -= half
    return first[0], second[0]


def margin(probs: FloatArray) -> FloatArray:
    """Return 1 - (largest - second largest probability), (n,) in [0, 1]."""
    first, second = top_two(probs)
    return np.asarray(1 - first + np.maximum(second, 0))


def margin_of_logits(logits: FloatArray) -> FloatArray:
    """Return `margin` of softmax(logits) without building the probabilities."""

    def piece(z: FloatArray) -> FloatArray:
        first, second = top_two(z)
        total = _exp_sum(z - first[:, None])
        return 1 - (1 - np.exp(second - first)) / total

    return by_pieces(piece, logits)


def least_confidence(probs: FloatArray) -> FloatArray:
    """Return 1 - largest probability, (n,) in [0, 1 - 1/C]."""
    return by_pieces(lambda p: np.asarray(1 - row_max(p)), probs)


def least_confidence_of_logits(logits: FloatArray) -> FloatArray:
    """Return `least_confidence` of softmax(logits) without building the probabilities."""

    def piece(z: FloatArray) -> FloatArray:
        total = _exp_sum(z - row_max(z)[:, None])
        return (total - 1) / total

    return by_pieces(piece, logits)


def entropy(probs: FloatArray) -> FloatArray:
    """Return the entropy in nats, (n,) in [0, log C]; probabilities count as 1e-30 at least."""

    def piece(p: FloatArray) -> FloatArray:
        logs = np.maximum(p, p.dtype.type(SMALLEST_PROB))
        np.log(logs, out=logs)
        logs *= p
        return -_row_sum(logs)

    return by_pieces(piece, probs)


def entropy_of_logits(logits: FloatArray) -> FloatArray:
    """Return `entropy` of softmax(logits) in one max-shifted pass: log Z - sum p z."""

    def piece(z: FloatArray) -> FloatArray:
        shifted = z - row_max(z)[:, None]  # (n, C), <= 0
        weights = np.exp(shifted)
        total = _row_sum(weights)
        shifted *= weights
        return np.log(total) - _row_sum(shifted) / total

    return by_pieces(piece, logits)


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
        self.equal_pairs = int(equal.sum() - len(weight)) // 2
        self._equal = equal if self.equal_pairs else None
        self.inverse: NDArray[np.float64] = np.where(equal, 0.0, 1.0 / np.where(equal, 1.0, gaps))
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

        def piece(z: FloatArray) -> FloatArray:
            distances, predicted, _ = self.distances(z)
            return np.asarray(distances[np.arange(len(z)), predicted])

        return by_pieces(piece, logits)


def _row_gaps(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances between all rows; where the short formula loses digits, from the differences."""
    gram = weight @ weight.T
    norms = np.diag(gram)
    sums = norms[:, None] + norms[None, :]
    squares = sums - 2 * gram
    near = squares <= 1e-6 * sums
    for j in np.flatnonzero(near.any(axis=1)):
        columns = np.flatnonzero(near[j])
        squares[j, columns] = ((weight[columns] - weight[j]) ** 2).sum(axis=1)
    return np.sqrt(np.maximum(squares, 0))
