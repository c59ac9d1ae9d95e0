"""Choosing rows by score: the top B, streamed, with ties settled the same way everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from poolwise.kernels.blocks import as_key, block_rows_for, read_rows
from poolwise.types import FloatArray, IndexArray, Rows


def stream_scores(score: Callable[..., FloatArray], rows: Mapping[str, Rows], indices: IndexArray) -> FloatArray:
    """Score rows by blocks: `score` gets one (n, ...) block of each array by keyword and returns (n,).

    Returns
    -------
    (len(indices),) float64, in the order of `indices`.
    """
    n = len(indices)
    step = min((block_rows_for(value) for value in rows.values()), default=max(n, 1))
    scores = np.empty(n, dtype=np.float64)
    for start in range(0, n, step):
        key = as_key(indices[start : start + step])
        scores[start : start + step] = score(**{name: read_rows(value, key) for name, value in rows.items()})
    return scores


def stream_top(
    score: Callable[..., FloatArray], rows: Mapping[str, Rows], indices: IndexArray, count: int
) -> tuple[IndexArray, FloatArray]:
    """Keep the `count` rows with the highest scores; better score first, then lower pool index.

    Returns
    -------
    (count,) int64 pool indices and (count,) float64 scores, best first.
    """
    scores = stream_scores(score, rows, indices)
    order = best_first(scores, indices, count)
    return indices[order], scores[order]


def best_first(scores: FloatArray, indices: IndexArray, count: int) -> IndexArray:
    """Positions of the `count` highest scores; better score first, then lower pool index."""
    order: IndexArray = np.lexsort((indices, -scores))[:count]
    return order
