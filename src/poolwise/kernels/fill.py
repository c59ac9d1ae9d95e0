"""Completing a batch whose method ran out of candidates."""

from __future__ import annotations

import numpy as np

from poolwise.kernels.d2 import PlainVectors, Points, measure_all, nearest_sq
from poolwise.types import FloatArray, IndexArray, Rows


def fill_farthest(rows: Rows, indices: IndexArray, chosen: IndexArray, count: int) -> IndexArray:
    """Extend chosen positions to `count`, each time by the row farthest from all chosen; lowest among equals.

    Parameters
    ----------
    rows : (N, D)
    indices : (n,) int64 sorted pool indices of the candidates
    chosen : positions within `indices`, in order; may be empty
    count : len(chosen) <= count <= n

    Returns
    -------
    (count,) int64 positions, starting with `chosen`.

    Notes
    -----
    Time one pass against all chosen and one pass per missing item.
    """
    missing = count - len(chosen)
    if missing <= 0:
        return chosen[:count]
    vectors = PlainVectors(rows, indices)
    gap = np.full(len(indices), np.inf)
    measure_all(vectors)
    filled = chosen.tolist()
    for start in range(0, len(chosen), 1024):
        _lower(gap, vectors, vectors.take(chosen[start : start + 1024]))
    gap[chosen] = -np.inf
    for _ in range(missing):
        position = int(gap.argmax())
        filled.append(position)
        _lower(gap, vectors, vectors.take(np.array([position])))
        gap[position] = -np.inf
    return np.array(filled, dtype=np.int64)


def _lower(gap: FloatArray, vectors: PlainVectors, centres: Points) -> None:
    for start, points in vectors.blocks(len(centres)):
        part = gap[start : start + len(points)]
        np.minimum(part, nearest_sq(points, centres), out=part)
