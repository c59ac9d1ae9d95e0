"""Row blocks of arrays in memory, memory-mapped, split over files, or computed on the fly.

This is the only place that indexes a pool array. Whatever the storage, callers get contiguous
float32 (or float64) blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from poolwise.errors import InputError, ShapeError
from poolwise.types import Array, IndexArray, Rows

BLOCK_BYTES = 16 * 2**20
"""Target size of one float32 block."""


class ShardedRows:
    """Several arrays read as one; row i of the whole is a row of one part.

    Parameters
    ----------
    parts : arrays of shape (n_p, ...) with the same trailing shape and dtype, usually memory maps
    """

    def __init__(self, parts: Sequence[Array]) -> None:
        if not parts:
            raise InputError("an array split over files needs at least one part; got none")
        self.parts = list(parts)
        self.starts = np.cumsum([0, *(len(part) for part in parts)])
        self.dtype = parts[0].dtype
        self.shape: tuple[int, ...] = (int(self.starts[-1]), *parts[0].shape[1:])
        for number, part in enumerate(parts):
            if part.shape[1:] != self.shape[1:] or part.dtype != self.dtype:
                raise ShapeError(
                    f"part {number} has rows of {part.shape[1:]} {part.dtype}; "
                    f"part 0 has {self.shape[1:]} {self.dtype}. All parts must agree."
                )

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice | IndexArray) -> Array:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step != 1:
                return self[np.arange(start, stop, step)]
            first, last = np.searchsorted(self.starts, [start, max(start, stop - 1)], side="right") - 1
            pieces = [
                self.parts[p][max(start - self.starts[p], 0) : stop - self.starts[p]] for p in range(first, last + 1)
            ]
            return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        key = np.asarray(key)
        out = np.empty((len(key), *self.shape[1:]), dtype=self.dtype)
        part_of = np.searchsorted(self.starts, key, side="right") - 1
        for part in np.unique(part_of):
            here = part_of == part
            out[here] = self.parts[part][key[here] - self.starts[part]]
        return out


class LinearLogits:
    """Logits computed when they are read: embeddings @ head_weight.T + head_bias, never stored.

    Parameters
    ----------
    embeddings : (N, D) rows
    head_weight : (C, D) float
    head_bias : (C,) float, or None for no bias
    """

    def __init__(self, embeddings: Rows, head_weight: Array, head_bias: Array | None = None) -> None:
        self.embeddings = embeddings
        self.head_weight = np.asarray(head_weight)
        self.head_bias = np.zeros(len(head_weight)) if head_bias is None else np.asarray(head_bias)
        self.shape = (len(embeddings), len(self.head_weight))
        self.dtype = np.dtype(np.float32)
        self._heads = {np.dtype(t): np.ascontiguousarray(self.head_weight.T, dtype=t) for t in (np.float32, np.float64)}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice | IndexArray) -> Array:
        return self.read(key, np.float32)

    def read(self, key: slice | IndexArray, dtype: DTypeLike) -> Array:
        """Compute the logits of some rows, in the arithmetic of `dtype` (float32 or float64)."""
        return self.of(np.asarray(self.embeddings[key], dtype=dtype))

    def of(self, x: Array) -> Array:
        """Compute the logits of embeddings that are already in memory: (n, D) float to (n, C)."""
        z: Array = x @ self._heads[x.dtype]  # (n, C)
        z += self.head_bias.astype(x.dtype)
        return z


class Softmax:
    """Probabilities computed from logits when they are read."""

    def __init__(self, logits: Rows) -> None:
        self.logits = logits
        self.shape = logits.shape
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice | IndexArray) -> Array:
        return self.read(key, np.float32)

    def read(self, key: slice | IndexArray, dtype: DTypeLike) -> Array:
        """Compute the probabilities of some rows, in the arithmetic of `dtype`."""
        return softmax_in_place(np.array(read_rows(self.logits, key, dtype)))


def softmax_in_place(z: Array) -> Array:
    """Turn (n, C) logits into probabilities, in the same memory."""
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z


class LogProbs:
    """Logits recovered from probabilities: log p, which differs from them by one constant a row."""

    def __init__(self, probs: Rows) -> None:
        self.probs = probs
        self.shape = probs.shape
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice | IndexArray) -> Array:
        return self.read(key, np.float32)

    def read(self, key: slice | IndexArray, dtype: DTypeLike) -> Array:
        """Compute log probabilities of some rows; 0 counts as 1e-30."""
        out: Array = np.log(np.maximum(read_rows(self.probs, key, dtype), 1e-30))
        return out


def read_rows(rows: Rows, key: slice | IndexArray, dtype: DTypeLike = np.float32) -> Array:
    """Read some rows as a C-contiguous array of `dtype` (a copy unless it already is one)."""
    reader = getattr(rows, "read", None)
    block = reader(key, dtype) if reader is not None else rows[key]
    return np.ascontiguousarray(block, dtype=dtype)


def load_rows(rows: Rows, indices: IndexArray | None = None, dtype: DTypeLike = np.float32) -> Array:
    """Load the given rows (default: all) as one C-contiguous array.

    Returns
    -------
    (n, ...) float32 or `dtype`; memory n * width.
    """
    return read_rows(rows, slice(0, len(rows)) if indices is None else as_key(indices), dtype)


def as_key(indices: IndexArray) -> slice | IndexArray:
    """Turn sorted consecutive indices into a slice, which reads much faster."""
    if len(indices) and indices[-1] - indices[0] == len(indices) - 1 and np.all(np.diff(indices) == 1):
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices


def block_rows_for(rows: Rows, block_bytes: int = BLOCK_BYTES) -> int:
    """Choose the rows of a block from a byte budget for its float32 copy; at least 256."""
    width = max(1, int(np.prod(rows.shape[1:])))
    return int(np.clip(block_bytes // (4 * width), 256, 65536))


def iter_blocks(
    rows: Rows,
    indices: IndexArray | None = None,
    *,
    block_rows: int | None = None,
    dtype: DTypeLike = np.float32,
) -> Iterator[tuple[int, Array]]:
    """Stream (position of the first row, block) over the given rows, in order.

    Positions count within `indices` (default: all rows). The last block may be shorter.
    """
    n = len(rows) if indices is None else len(indices)
    step = block_rows or block_rows_for(rows)
    for start in range(0, n, step):
        stop = min(start + step, n)
        key = slice(start, stop) if indices is None else as_key(indices[start:stop])
        yield start, read_rows(rows, key, dtype)


def as_rows(value: Any, name: str) -> Rows:
    """Accept a NumPy array, a memory map, a torch tensor, a DataFrame, a list or any `Rows`.

    Raises
    ------
    InputError
        If the value is not numeric.
    """
    if isinstance(value, np.ndarray):
        array = value
    elif hasattr(value, "detach"):  # torch
        tensor = value.detach().cpu()
        array = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    elif hasattr(value, "to_numpy"):  # pandas, polars
        array = value.to_numpy()
    elif isinstance(value, Rows) and not isinstance(value, list | tuple):
        return value
    else:
        array = np.asarray(value)
    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{name} holds values that are not numbers ({error}). Pass a numeric array; encode text columns first."
            ) from error
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise InputError(f"{name} has dtype {array.dtype}; expected numbers.")
    return array
