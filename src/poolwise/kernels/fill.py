"""Completing a batch whose method ran out of candidates."""

from __future__ import annotations

import numpy as np

from poolwise.kernels.points import Points, nearest_sq
from poolwise.kernels.vectors import PlainVectors, measure_all
from poolwise.types import FloatArray, IndexArray, Rows


def fill_farthest(
    rows: Rows, indices: IndexArray, chosen: IndexArray, count: int, *, others: IndexArray | None = None
) -> IndexArray:
    """Extend chosen positions to `count`, each time by the row farthest from all chosen; lowest among equals.

    Parameters
    ----------
    rows : (N, D)
    indices : (n,) int64 sorted pool indices of the candidates
    chosen : positions within `indices`, in order; may be empty
    count : len(chosen) <= count <= n
    others : pool indices of further rows to stay away from, such as the labeled ones

    Returns
    -------
    (count,) int64 positions, starting with `chosen`.

    Notes
    -----
    Time one pass against all that is chosen and one pass per missing item.
    """
    if len(chosen) >= count:
        return chosen[:count]
    vectors = PlainVectors(rows, indices)
    measure_all(vectors)
    gap = np.full(len(indices), np.inf)
    taken = np.concatenate([indices[chosen], np.empty(0, dtype=np.int64) if others is None else others])
    for start in range(0, len(taken), 1024):
        centres = PlainVectors(rows, taken[start : start + 1024], origin=vectors.origin)
        _lower(gap, vectors, centres.take(np.arange(len(centres))))
    gap[chosen] = -np.inf
    filled = chosen.tolist()
    while len(filled) < count:
        position = int(gap.argmax())
        filled.append(position)
        _lower(gap, vectors, vectors.take(np.array([position])))
        gap[position] = -np.inf
    return np.array(filled, dtype=np.int64)


def _lower(gap: FloatArray, vectors: PlainVectors, centres: Points) -> None:
    for start, points in vectors.blocks(len(centres)):
        part = gap[start : start + len(points)]
        np.minimum(part, nearest_sq(points, centres), out=part)
