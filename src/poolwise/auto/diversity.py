"""From item scores to a batch without near-duplicates: cover the nominated items, weighted by their scores.

Source: Bae, Noh & Sutherland, "Generalized Coverage for More Robust Low-Budget Active Learning", ECCV 2024, equation 6,
on nominated items only.
"""

from __future__ import annotations

import math

import numpy as np

from poolwise.auto.rule import EXACT_PAIRS, fair_radius
from poolwise.kernels.cell_cover import cell_soft_cover
from poolwise.kernels.coverage import greedy_soft_cover
from poolwise.kernels.distances import UnitRows
from poolwise.kernels.sampling import best_first
from poolwise.types import FloatArray, IndexArray, Rows


def top_batch(rows: IndexArray, scores: FloatArray, count: int) -> tuple[IndexArray, FloatArray]:
    """Take the best scores; lower pool index among equals. (count,) pool indices and their scores."""
    best = best_first(scores, rows, count)
    return rows[best], scores[best]


def diverse_batch(
    embeddings: Rows,
    rows: IndexArray,
    scores: FloatArray,
    labeled: IndexArray,
    count: int,
    rng: np.random.Generator,
) -> tuple[IndexArray, FloatArray]:
    """Cover items weighted by their scores, labeled ones counting as covered.

    Parameters
    ----------
    embeddings : (N, D)
    rows : (M,) int64 sorted pool indices
    scores : (M,) float >= 0
    labeled : (L,) int64 pool indices
    count : 1 <= count <= M
    rng : draws the rows that measure the radius

    Returns
    -------
    (count,) pool indices and the gain of each.
    """
    if count == len(rows):
        return top_batch(rows, scores, count)
    unit = UnitRows(embeddings)
    sigma = math.sqrt(fair_radius(unit, rows, count, rng))
    if len(rows) ** 2 <= EXACT_PAIRS:
        cover = greedy_soft_cover(unit, rows, rows, scores, sigma, labeled, count)
    else:
        cover = cell_soft_cover(unit, rows, rows, scores, sigma, labeled, count, rng)
    return rows[cover.positions], cover.gains
