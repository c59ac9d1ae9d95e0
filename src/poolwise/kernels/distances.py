"""Squared Euclidean distances by blocked matrix products, and k-center greedy on top of them.

`|x|^2 + |c|^2 - 2 x.c` cancels where x and c are close or far from the origin. Rows are therefore moved
to a common origin first, and results below `CANCELLED` of `|x|^2 + |c|^2` are computed again as `sum (x - c)^2`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from poolwise.kernels.blocks import iter_blocks, load_rows, read_rows
from poolwise.types import Array, FloatArray, IndexArray, Rows

CANCELLED = 1e-3
"""Below this share of |x|^2 + |c|^2 a float32 result is recomputed (scalable-selection numerics)."""

First = Literal["center", "random"]


@dataclass(frozen=True, slots=True)
class KCenterPicks:
    """Rows chosen by k-center greedy.

    indices : (B,) int64 pool indices, in order of choice
    sq_distance : (B,) float64, squared distance of each pick to the nearest centre when it was picked
    cover_radius : largest distance of any row to its nearest centre when all are picked
    """

    indices: IndexArray
    sq_distance: FloatArray
    cover_radius: float


class UnitRows:
    """Rows scaled to unit length when they are read; a zero row stays zero."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.shape = rows.shape
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice | IndexArray) -> Array:
        return self.read(key, np.float32)

    def read(self, key: slice | IndexArray, dtype: np.typing.DTypeLike) -> Array:
        """Scale some rows in float64 and return them as `dtype`."""
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
    scale = _sq_norms(a)[:, None] + _sq_norms(b)  # (n, m)
    out: FloatArray = scale - 2 * (a @ b.T)
    row, column = np.nonzero(out < CANCELLED * scale)
    step = max(1, 2**20 // max(1, x.shape[1]))
    for start in range(0, len(row), step):
        pair = slice(start, start + step)
        out[row[pair], column[pair]] = _sq_norms(a[row[pair]] - b[column[pair]])
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


def k_center(
    rows: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    batch_size: int,
    *,
    first: First = "center",
    rng: np.random.Generator | None = None,
) -> KCenterPicks:
    """Repeatedly pick the unlabeled row farthest from all labeled and picked rows.

    Ties go to the lowest pool index. When only copies of chosen rows are left, the lowest indices follow.
    """
    x = load_rows(rows, unlabeled, np.float64)  # (U, D)
    gap = np.full(len(x), np.inf)
    for _, block in iter_blocks(rows, labeled, dtype=np.float64, block_rows=64):
        np.minimum(gap, sq_distances(x, block).min(axis=1), out=gap)
    if not len(labeled):
        pos = int(rng.integers(len(x))) if first == "random" and rng is not None else _nearest_to_mean(x)
        value = float(_sq_norms(x - x[pos]).max())
    else:
        pos = int(gap.argmax())
        value = float(gap[pos])
    picked, values = [], []
    for _ in range(batch_size):
        picked.append(pos)
        values.append(value)
        np.minimum(gap, _sq_norms(x - x[pos]), out=gap)
        gap[pos] = -np.inf
        pos = int(gap.argmax())
        value = float(gap[pos])
    return KCenterPicks(unlabeled[picked], np.array(values), float(np.sqrt(max(value, 0.0))))


def _nearest_to_mean(x: FloatArray) -> int:
    return int(_sq_norms(x - x.mean(axis=0)).argmin())


def _sq_norms(x: FloatArray) -> FloatArray:
    out: FloatArray = np.einsum("ij,ij->i", x, x)
    return out
