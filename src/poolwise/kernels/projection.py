"""Principal components of rows that are streamed, and rows projected on them when they are read."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from poolwise.kernels.blocks import Key, iter_blocks, read_rows
from poolwise.types import Array, IndexArray, Rows

FIT_BLOCK = 4096
"""Rows of one block of the fit, whatever the storage, so that sums do not depend on the size of blocks."""


class PrincipalRows:
    """Rows projected on their leading principal components, in float64.

    Parameters
    ----------
    rows : (N, D)
    indices : (n,) int64 sorted pool indices the components are fitted on
    width : components to keep; min(width, D) are

    Notes
    -----
    Time n D^2 for the fit, D width a row when read. Memory D^2.
    """

    def __init__(self, rows: Rows, indices: IndexArray, width: int) -> None:
        self.rows = rows
        n_features = int(rows.shape[1])
        first = read_rows(rows, indices[:1], np.float64)[0]
        total, square = np.zeros(n_features), np.zeros((n_features, n_features))
        for _, block in iter_blocks(rows, indices, block_rows=FIT_BLOCK, dtype=np.float64):
            moved = block - first
            total += moved.sum(axis=0)
            square += moved.T @ moved
        mean = total / len(indices)
        variances, axes = np.linalg.eigh(square / len(indices) - np.outer(mean, mean))
        keep = min(width, n_features)
        self.mean: NDArray[np.float64] = first + mean
        self.axes: NDArray[np.float64] = axes[:, ::-1][:, :keep]
        spread = np.maximum(variances, 0).sum()
        self.kept_variance = float(np.maximum(variances[::-1][:keep], 0).sum() / spread) if spread > 0 else 1.0
        self.shape = (len(rows), keep)
        self.dtype = np.dtype(np.float64)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Key) -> Array:
        return self.read(key, self.dtype)

    def read(self, key: Key, dtype: DTypeLike) -> Array:
        """Project some rows in float64 and return them as `dtype`."""
        x = read_rows(self.rows, key, np.float64) - self.mean
        return np.asarray((x @ self.axes).astype(dtype, copy=False))
