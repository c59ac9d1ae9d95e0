"""Row blocks of arrays in memory, memory-mapped, split over files, or computed on the fly.

This is the only place that indexes a pool array. Whatever the storage, callers get contiguous
float32 (or float64) blocks. Reading and converting the next block runs in a second thread while
the caller works on the present one.
"""

from __future__ import annotations

import math
import mmap
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from poolwise.errors import InputError, ShapeError
from poolwise.kernels import backend
from poolwise.kernels.scratch import Scratch
from poolwise.types import Array, IndexArray, Rows

BLOCK_BYTES = 16 * 2**20
"""Target size of one float32 block."""

MIN_BLOCK_ROWS = 256
"""Blocks of very wide rows hold at least so many."""

PREFETCH_BYTES = 32 * 2**20
"""Reads below this size are not worth a second thread."""

Key = slice | IndexArray


class ShardedRows:
    """Several arrays read as one; row i of the whole is a row of one part.

    Parameters
    ----------
    parts : arrays of shape (n_p, ...) with the same trailing shape and dtype, usually memory maps
    """

    def __init__(self, parts: Sequence[Array]) -> None:
        if not parts:
            raise InputError("an array split over files needs at least one part; got none. Pass the parts as a list.")
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

    def __getitem__(self, key: Key) -> Array:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step != 1:
                return self[np.arange(start, stop, step)]
            first, last = np.searchsorted(self.starts, [start, max(start, stop - 1)], side="right") - 1
            pieces = [
                self.parts[p][max(start - self.starts[p], 0) : max(stop - self.starts[p], 0)]
                for p in range(first, min(last + 1, len(self.parts)))
            ]
            if not pieces:
                return np.empty((0, *self.shape[1:]), dtype=self.dtype)
            return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        key = np.asarray(key)
        out = np.empty((len(key), *self.shape[1:]), dtype=self.dtype)
        part_of = np.searchsorted(self.starts, key, side="right") - 1
        for part in np.unique(part_of):
            here = part_of == part
            out[here] = _gather(self.parts[part], key[here] - self.starts[part])
        return out


class Computed(ABC):
    """Base of rows that are computed from other rows when they are read.

    Reading has two steps, so that a stream can do the first one ahead of time in another thread:
    `fetch` reads the stored rows, `finish` does the arithmetic.

    source : the rows it is computed from
    source_name : what messages call them
    """

    source_name = ""
    shape: tuple[int, ...]
    dtype = np.dtype(np.float32)
    source: Rows

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Key) -> Array:
        return self.read(key, np.float32)

    def read(self, key: Key, dtype: DTypeLike) -> Array:
        """Compute some rows in the arithmetic of `dtype` (float32 or float64)."""
        return self.finish(_fetch(self.source, key, np.dtype(dtype), None))

    @abstractmethod
    def finish(self, block: Array) -> Array:
        """Turn a block of stored rows into a new block of computed ones."""


class LinearLogits(Computed):
    """Logits computed when they are read: embeddings @ head_weight.T + head_bias, never stored.

    Parameters
    ----------
    embeddings : (N, D) rows
    head_weight : (C, D) float
    head_bias : (C,) float, or None for no bias
    """

    source_name = "embeddings"

    def __init__(self, embeddings: Rows, head_weight: Array, head_bias: Array | None = None) -> None:
        self.embeddings = self.source = embeddings
        self.head_weight = np.asarray(head_weight)
        self.head_bias = np.zeros(len(head_weight)) if head_bias is None else np.asarray(head_bias)
        self.shape = (len(embeddings), len(self.head_weight))
        self._heads = {
            np.dtype(kind): backend.Affine(self.head_weight.T, self.head_bias, np.dtype(kind))
            for kind in (np.float32, np.float64)
        }

    def finish(self, block: Array) -> Array:
        """Compute (n, C) logits of the stored rows the embeddings come from."""
        return self.of(finish_block(self.source, block))

    def of(self, x: Array) -> Array:
        """Compute the logits of embeddings that are already in memory: (n, D) float to (n, C)."""
        return self._heads[x.dtype](x)

    def there(self, x: Any) -> Any:
        """Do so on the device in force: (n, D) float32 to (n, C), both tensors on it."""
        return self._heads[np.dtype(np.float32)].there(x)


class Softmax(Computed):
    """Probabilities computed from logits when they are read."""

    source_name = "logits"

    def __init__(self, logits: Rows) -> None:
        self.logits = self.source = logits
        self.shape = logits.shape

    def finish(self, block: Array) -> Array:
        """Compute (n, C) probabilities of (n, C) logits."""
        z = finish_block(self.source, block)
        return softmax_in_place(z.copy() if z is block else z)


def softmax_in_place(z: Array) -> Array:
    """Turn (n, C) logits into probabilities, in the same memory."""
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z


class LogProbs(Computed):
    """Logits recovered from probabilities: log p, which differs from them by one constant a row."""

    source_name = "probs"

    def __init__(self, probs: Rows) -> None:
        self.probs = self.source = probs
        self.shape = probs.shape

    def finish(self, block: Array) -> Array:
        """Compute (n, C) log probabilities; 0 counts as 1e-30."""
        p = finish_block(self.source, block)
        return np.asarray(np.log(np.maximum(p, p.dtype.type(1e-30))))


def read_rows(rows: Rows, key: Key, dtype: DTypeLike = np.float32) -> Array:
    """Read some rows as a C-contiguous array of `dtype` (a copy unless it already is one)."""
    return finish_block(rows, _fetch(rows, key, np.dtype(dtype), None))


def load_rows(rows: Rows, indices: IndexArray | None = None, dtype: DTypeLike = np.float32) -> Array:
    """Load the given rows (default: all) as one C-contiguous array.

    Returns
    -------
    (n, ...) float32 or `dtype`; memory n * width.
    """
    return read_rows(rows, slice(0, len(rows)) if indices is None else as_key(indices), dtype)


def as_key(indices: IndexArray) -> Key:
    """Turn sorted consecutive indices into a slice, which reads much faster."""
    if len(indices) and indices[-1] - indices[0] == len(indices) - 1 and np.all(np.diff(indices) == 1):
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices


def block_rows_for(rows: Rows, block_bytes: int | None = None) -> int:
    """Choose the rows of a block from a byte budget (default BLOCK_BYTES) for its float32 copy.

    Rows computed from others count the width of both.
    """
    width = 0
    node: Any = rows
    while node is not None:
        width = max(width, math.prod(node.shape[1:]))
        node = node.source if isinstance(node, Computed) else None
    budget = BLOCK_BYTES if block_bytes is None else block_bytes
    return min(max(budget // (4 * max(1, width)), MIN_BLOCK_ROWS), 65536)


def iter_blocks(
    rows: Rows,
    indices: IndexArray | None = None,
    *,
    block_rows: int | None = None,
    dtype: DTypeLike = np.float32,
) -> Iterator[tuple[int, Array]]:
    """Stream (position of the first row, block) over the given rows, in order.

    Positions count within `indices` (default: all rows). The last block may be shorter. A block may
    be a view of the stored array: do not write into it.
    """
    n = len(rows) if indices is None else len(indices)
    step = block_rows or block_rows_for(rows)
    starts = range(0, n, step)
    keys: list[Key] = []
    for start in starts:
        stop = min(start + step, n)
        keys.append(slice(start, stop) if indices is None else as_key(indices[start:stop]))
    for start, blocks in zip(starts, iter_keys({"rows": rows}, keys, dtype), strict=True):
        yield start, blocks["rows"]


def iter_keys(
    rows: Mapping[str, Rows], keys: Sequence[Key], dtype: DTypeLike = np.float32
) -> Iterator[dict[str, Array]]:
    """Stream one block of every array for each key, reading one key ahead in a second thread.

    A block may be a view of the stored array: do not write into it.
    """
    kind = np.dtype(dtype)
    stores = {name: Scratch() for name in rows}

    def fetch(key: Key) -> dict[str, Array]:
        return {name: _fetch(value, key, kind, stores[name]) for name, value in rows.items()}

    def finish(blocks: dict[str, Array]) -> dict[str, Array]:
        return {name: finish_block(rows[name], block) for name, block in blocks.items()}

    if not _worth_a_thread(rows, keys, kind):
        for key in keys:
            yield finish(fetch(key))
        return
    with _sequential(rows), ThreadPoolExecutor(max_workers=1, thread_name_prefix="poolwise-read") as reader:
        ahead = reader.submit(fetch, keys[0])
        for key in keys[1:]:
            blocks = ahead.result()
            ahead = reader.submit(fetch, key)
            yield finish(blocks)
        yield finish(ahead.result())


def _fetch(rows: Rows, key: Key, dtype: np.dtype[Any], store: Scratch | None) -> Array:
    """Read stored rows as contiguous `dtype`; for computed rows, the stored rows they come from."""
    if isinstance(rows, Computed):
        return _fetch(rows.source, key, dtype, store)
    reader: Callable[..., Array] | None = getattr(rows, "read", None)
    if reader is not None:
        block = reader(key, dtype)
    else:
        block = rows[key] if isinstance(key, slice) else _gather(rows, key)
    if block.dtype == dtype:
        return np.asarray(np.ascontiguousarray(block))
    out = np.empty(block.shape, dtype=dtype) if store is None else store.take(block.shape, dtype)
    backend.convert(np.asarray(block), out)
    return out


def finish_block(rows: Rows, block: Array) -> Array:
    """Turn a block of stored rows into rows as they are read; stored rows are that already."""
    return rows.finish(block) if isinstance(rows, Computed) else block


def _gather(rows: Rows, key: IndexArray) -> Array:
    """Read rows by index; from a file in the order of the file."""
    if not isinstance(rows, np.memmap) or len(key) < 2 or bool(np.all(key[1:] >= key[:-1])):
        return np.asarray(rows[key])
    order = np.argsort(key, kind="stable")
    sorted_rows = rows[key[order]]
    out = np.empty_like(sorted_rows)
    out[order] = sorted_rows
    return out


def _worth_a_thread(rows: Mapping[str, Rows], keys: Sequence[Key], dtype: np.dtype[Any]) -> bool:
    """Whether reading ahead saves time: there is much to read, and reading is more than taking a view."""
    if len(keys) < 3:
        return False
    n = sum(key.stop - key.start if isinstance(key, slice) else len(key) for key in keys)
    for value in rows.values():
        base: Any = value
        while isinstance(base, Computed):
            base = base.source
        plain = type(base) is np.ndarray and base.dtype == dtype and isinstance(keys[0], slice)
        if not plain and n * math.prod(base.shape[1:]) * base.dtype.itemsize > PREFETCH_BYTES:
            return True
    return False


@contextmanager
def _sequential(rows: Mapping[str, Rows]) -> Iterator[None]:
    """Tell the operating system, where it can be told, that memory maps are now read from front to back."""
    parts = [part for value in rows.values() for part in getattr(stored(value, "")[0], "parts", [stored(value, "")[0]])]
    maps = [part._mmap for part in parts if isinstance(getattr(part, "_mmap", None), mmap.mmap)]
    advise = hasattr(mmap, "MADV_SEQUENTIAL")
    for mapping in maps if advise else []:
        mapping.madvise(mmap.MADV_SEQUENTIAL)
    try:
        yield
    finally:
        for mapping in maps if advise else []:
            mapping.madvise(mmap.MADV_NORMAL)


def stored(rows: Rows, name: str) -> tuple[Rows, str]:
    """Return the array that computed rows come from in the end, and its name; a stored array is its own source."""
    while isinstance(rows, Computed):
        name, rows = rows.source_name, rows.source
    return rows, name


def check_block(name: str, block: Array, pool: Sequence[int] | IndexArray, *, probabilities: bool = False) -> None:
    """Find the first row of a block that holds NaN or inf, or probabilities that are none.

    Parameters
    ----------
    name : what the message calls the array
    block : (n, ...) contiguous float
    pool : (n,) pool indices of the rows
    probabilities : rows along the last axis must be non-negative and sum to 1 within 1e-3

    Raises
    ------
    InputError
        The row is named.
    """
    if _looks_fine(block, probabilities):
        return
    broken = ~np.isfinite(block.reshape(len(block), -1)).all(axis=1)
    if broken.any():
        row = pool[int(np.flatnonzero(broken)[0])]
        remedy = "Fit the head again." if name.startswith("head_") else "Drop or repair that item."
        raise InputError(f"{name} row {row} holds NaN or inf; every value must be finite and fit float32. {remedy}")
    if probabilities:
        sums = block.sum(axis=-1)
        bad = (np.abs(sums - 1) > 1e-3) | (block.min(axis=-1) < 0)
        if not bad.any():
            return
        pos = int(np.flatnonzero(bad.reshape(len(block), -1).any(axis=1))[0])
        worst = np.ravel(sums[pos])[int(np.flatnonzero(np.ravel(bad[pos]))[0])]
        raise InputError(
            f"{name} row {pool[pos]} sums to {float(worst):.4g} with smallest value "
            f"{float(block[pos].min()):.4g}; each row must be non-negative and sum to 1. "
            "For unnormalised scores use logits=... instead."
        )


def _looks_fine(block: Array, probabilities: bool) -> bool:
    """Judge a block by a few sums, in pieces that stay in the cache; False means look closer."""
    step = max(1, 2**18 // max(1, block[:1].nbytes))
    ones = np.ones(block.shape[-1], dtype=block.dtype)
    with np.errstate(all="ignore"):
        for start in range(0, len(block), step):
            piece = block[start : start + step]
            if probabilities:
                off = piece @ ones - 1  # NaN and inf end up in the sums
                if not (off.max(initial=0) <= 1e-3 and off.min(initial=0) >= -1e-3 and piece.min(initial=0) >= 0):
                    return False
            else:
                flat = piece.reshape(-1)
                if not np.isfinite(flat @ flat):  # one product instead of a test of every value; it may overflow
                    return False
    return True


def as_rows(value: Any, name: str) -> Rows:
    """Accept a NumPy array, a memory map, a torch tensor, a DataFrame, a list or any `Rows`.

    Raises
    ------
    InputError
        If the value is not numeric.
    """
    if hasattr(value, "tocsr"):  # scipy.sparse
        raise InputError(
            f"{name} is a sparse {value.shape[0]} x {value.shape[1]} matrix; strategies need dense rows. "
            "Reduce it with sklearn.decomposition.TruncatedSVD(256).fit_transform(X), or pass X.toarray() if small."
        )
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
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise InputError(f"{name} is no table of numbers ({error}). Pass rows of one length.") from error
    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{name} holds values that are not numbers ({error}). Pass a numeric array; encode text columns first."
            ) from error
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool) or array.dtype.kind == "c":
        raise InputError(f"{name} has dtype {array.dtype}; expected real numbers. Pass a numeric array.")
    return array
