"""Nearest neighbours: distance to the k-th nearest labeled item, rows of unit length.

Source: Sun, Ming, Zhu & Li, "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022.
Differs from the paper: items rejected by annotators count too, where there are some: an item is as much more foreign
as its nearest rejected one is nearer.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.blocks import iter_blocks, load_rows
from poolwise.kernels.distances import UnitRows, sq_distances
from poolwise.ood.labels import labeled_classes
from poolwise.registry import detector
from poolwise.types import BoolArray, FloatArray, IndexArray, Rows

CENTRES = 512


@detector("knn", paper="arXiv:2204.06507", use_when="Classes of any shape, and labels spread over them.")
def knn(
    embeddings: Rows,
    labels: IndexArray,
    labeled: IndexArray,
    items: IndexArray,
    foreign: BoolArray | None = None,
    *,
    k: int = 1,
    use_foreign: bool = True,
) -> FloatArray:
    """Score items by their distance to the k-th nearest labeled item, minus that to the k-th nearest rejected one.

    Parameters
    ----------
    embeddings : (N, D) features
    labels : (N,) int64, -1 where unlabeled; only whether an item has one matters
    labeled : (L,) int64 pool indices, L >= 1
    items : (n,) int64 pool indices, sorted
    foreign : (N,) bool, items rejected by annotators
    k : >= 1; more than there are counts as all
    use_foreign : take the rejected items into account

    Returns
    -------
    (n,) float64. Time n L D.

    Raises
    ------
    InputError
        If nothing is labeled.
    OptionError
        If k is below 1.
    """
    if k < 1:
        raise OptionError(f"knn: k must be at least 1; got {k}.")
    labeled_classes("knn", labels, labeled)
    unit = UnitRows(embeddings)
    scores = kth_distance(unit, items, labeled, k)
    rejected = np.flatnonzero(foreign) if use_foreign and foreign is not None else labeled[:0]
    return scores - kth_distance(unit, items, rejected, k) if len(rejected) else scores


def kth_distance(rows: Rows, items: IndexArray, others: IndexArray, k: int) -> FloatArray:
    """Distance (n,) of each item to its k-th nearest of some other rows, or to the farthest where there are fewer."""
    centres = load_rows(rows, others, np.float64)
    k = min(k, len(others))
    out = np.empty(len(items))
    for start, block in iter_blocks(rows, items, dtype=np.float64):
        best = np.full((len(block), k), np.inf)
        for first in range(0, len(centres), CENTRES):
            d = np.hstack([best, sq_distances(block, centres[first : first + CENTRES])])
            best = np.partition(d, k - 1, axis=1)[:, :k]
        out[start : start + len(block)] = np.sqrt(best.max(axis=1))
    return out
