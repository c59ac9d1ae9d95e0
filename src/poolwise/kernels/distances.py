"""Squared Euclidean distances by blocked matrix products.

`|x|^2 + |c|^2 - 2 x.c` cancels where x and c are close or far from the origin. Rows are therefore moved
to a common origin first, and results below `CANCELLED` of `|x|^2 + |c|^2` are computed again as `sum (x - c)^2`.
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.blocks import as_key, iter_blocks, read_rows
from poolwise.types import Array, FloatArray, IndexArray, Rows

CANCELLED = 1e-3
"""Below this share of |x|^2 + |c|^2 a float32 result is recomputed (scalable-selection numerics)."""

SCALED_AT_ONCE = 2**21
"""Numbers that `UnitRows` scales in float64 together."""


class UnitRows:
    """Rows scaled to unit length when they are read; a zero row stays zero."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.shape = rows.shape
        self.dtype = np.dtype(np.float64)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice | IndexArray) -> Array:
        return self.read(key, self.dtype)

    def read(self, key: slice | IndexArray, dtype: np.typing.DTypeLike) -> Array:
        """Scale some rows in float64 and return them as `dtype`; float64 copies exist of a few rows at a time only."""
        count = len(range(*key.indices(len(self)))) if isinstance(key, slice) else len(key)
        step = max(256, SCALED_AT_ONCE // max(1, self.shape[1]))
        if count <= step:
            return self._scaled(key, dtype)
        rows = np.arange(*key.indices(len(self))) if isinstance(key, slice) else key
        out = np.empty((count, *self.shape[1:]), dtype=dtype)
        for start in range(0, count, step):
            out[start : start + step] = self._scaled(as_key(rows[start : start + step]), dtype)
        return out

    def _scaled(self, key: slice | IndexArray, dtype: np.typing.DTypeLike) -> Array:
        x = read_rows(self.rows, key, np.float64)
        largest = np.abs(x).max(axis=1, keepdims=True, initial=0.0)
        x = x / np.where(largest > 0, largest, 1.0)  # squares of extreme values neither overflow nor vanish
        norm = np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
        x /= np.where(norm > 0, norm, 1.0)
        return x.astype(dtype, copy=False)


def sq_distances(x: FloatArray, centres: FloatArray) -> FloatArray:
    """Compute all squared distances between two small sets of rows.

    Parameters
    ----------
    x : (n, D) float
    centres : (m, D) float, the same dtype

    Returns
    -------
    (n, m) of that dtype, >= 0; exactly 0 between equal rows. Memory n * m; time n * m * D as one matrix product.
    """
    if not len(x) or not len(centres):
        return np.zeros((len(x), len(centres)), dtype=x.dtype)
    origin = centres.mean(axis=0, dtype=np.float64).astype(x.dtype)
    a, b = x - origin, centres - origin
    scale = sq_norms(a)[:, None] + sq_norms(b)  # (n, m)
    out: FloatArray = scale - 2 * (a @ b.T)
    row, column = np.nonzero(out < CANCELLED * scale)
    step = max(1, 2**20 // max(1, x.shape[1]))
    for start in range(0, len(row), step):
        pair = slice(start, start + step)
        out[row[pair], column[pair]] = sq_norms(a[row[pair]] - b[column[pair]])
    return out


def min_sq_distance(rows: Rows, indices: IndexArray | None, centres: FloatArray) -> FloatArray:
    """Squared distance of each given row (default: all) to the nearest of some centres.

    Parameters
    ----------
    rows : (N, D), streamed by blocks
    indices : (n,) pool indices, or None
    centres : (m, D) float32

    Returns
    -------
    (n,) float32; inf where there are no centres. Time n * m * D; memory one block.
    """
    n = len(rows) if indices is None else len(indices)
    out = np.full(n, np.inf, dtype=np.float32)
    for start, block in iter_blocks(rows, indices):
        for first in range(0, len(centres), 512):
            near = sq_distances(block, centres[first : first + 512]).min(axis=1)
            np.minimum(out[start : start + len(block)], near, out=out[start : start + len(block)])
    return out


def sq_norms(x: FloatArray) -> FloatArray:
    """Squared length of each row."""
    out: FloatArray = np.einsum("ij,ij->i", x, x)
    return out
