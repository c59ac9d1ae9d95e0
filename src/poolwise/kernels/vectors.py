"""Vectors of a pool, read by blocks or by position: rows as they are, and gradients that are never built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike

from poolwise.kernels.blocks import LinearLogits, Softmax, as_key, block_rows_for, read_rows, softmax_in_place
from poolwise.kernels.distances import CANCELLED
from poolwise.kernels.points import ROUNDING, Points
from poolwise.types import FloatArray, IndexArray, Rows

FLOPS = 1.2e11
"""Rough speed of one core, used only to decide when to refresh: constants, so that picks never depend on the clock."""

BYTES = 8e9
"""Rough speed of its memory, likewise."""


class Vectors(Protocol):
    """The vectors of one shard, read by blocks or by position."""

    row_seconds: float
    width: int
    sq: FloatArray
    complete: bool
    """Blocks hold complete points, so that bounds are distances."""

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

    def exact(self, positions: IndexArray) -> Points:
        """Gather complete points at sorted positions, in float64."""
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
        self.width, self.complete = int(rows.shape[1]), True
        self.row_seconds = self.width * (4 / BYTES if rows.dtype == np.float32 else 2e-9)
        self.origin = common_offset(rows, indices) if isinstance(origin, str) else origin
        self.sq = np.empty(len(indices), dtype=np.float32)

    def __len__(self) -> int:
        return len(self.indices)

    def _read(self, indices: IndexArray, dtype: DTypeLike = np.float32) -> FloatArray:
        h = read_rows(self.rows, as_key(indices), dtype)
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

    def exact(self, positions: IndexArray) -> Points:
        """Gather rows at sorted positions in float64."""
        h = self._read(self.indices[positions], np.float64)
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
        self.complete = self.topk is None
        if head_of(probs, embeddings) is not None and self.topk is None:
            self.row_seconds += 2 * n_classes * n_features / FLOPS
        kept = (len(indices), self.topk or 0)
        self.entries, self.values = np.empty(kept, dtype=np.int32), np.empty(kept, dtype=np.float32)
        self.slack = np.zeros(len(indices), dtype=np.float32)
        self.residual = 0.0  # mean of slack / |e|
        self.sq = np.empty(len(indices), dtype=np.float32)
        self.top = np.empty(len(indices), dtype=np.int32)

    def __len__(self) -> int:
        return len(self.indices)

    def _read(self, indices: IndexArray, dtype: DTypeLike = np.float32) -> tuple[FloatArray, FloatArray]:
        key = as_key(indices)
        h = read_rows(self.embeddings, key, dtype)
        head = head_of(self.probs, self.embeddings)
        return (read_rows(self.probs, key, dtype) if head is None else softmax_in_place(head.of(h))), h

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
        return self._complete(p[back], h[back])

    def exact(self, positions: IndexArray) -> Points:
        """Gather rows at sorted positions, with complete first factors, in float64."""
        p, h = self._read(self.indices[positions], np.float64)
        return self._complete(p.copy(), h)

    def _complete(self, p: FloatArray, h: FloatArray) -> Points:
        """Turn probabilities, in their memory, into first factors."""
        top = p.argmax(axis=1)
        sq = _sq_residuals(p, top) * (np.einsum("ij,ij->i", h, h) + h.dtype.type(self.bias))
        p[np.arange(len(p)), top] -= 1
        return Points(h, sq, p, None, self.bias)


def head_of(probs: Rows, embeddings: Rows) -> LinearLogits | None:
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
