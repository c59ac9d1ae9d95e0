"""Class cosine: one minus the cosine to the nearest class mean.

Source: Techapanurak, Suganuma & Okatani, "Hyperparameter-Free Out-of-Distribution Detection Using Cosine Similarity",
ACCV 2020.
Differs from the paper: class means of the labeled features in place of a trained cosine head.
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.blocks import iter_blocks, load_rows
from poolwise.kernels.distances import UnitRows
from poolwise.ood.labels import labeled_classes
from poolwise.registry import detector
from poolwise.types import FloatArray, IndexArray, Rows


@detector("class_cosine", paper="arXiv:1905.10628", use_when="Few labels: it needs no covariance.")
def class_cosine(embeddings: Rows, labels: IndexArray, labeled: IndexArray, items: IndexArray) -> FloatArray:
    """Score items by one minus the largest cosine to a labeled class's mean direction.

    Parameters
    ----------
    embeddings : (N, D) features
    labels : (N,) int64, -1 where unlabeled
    labeled : (L,) int64 pool indices, L >= 1
    items : (n,) int64 pool indices, sorted

    Returns
    -------
    (n,) float64 in [0, 2].

    Raises
    ------
    InputError
        If nothing is labeled.
    """
    y = labeled_classes("class_cosine", labels, labeled)
    unit = UnitRows(embeddings)
    x = load_rows(unit, labeled, np.float64)
    means = np.array([x[y == c].mean(axis=0) for c in np.unique(y)])
    lengths = np.sqrt(np.square(means).sum(axis=1, keepdims=True))
    means = means / np.where(lengths > 0, lengths, 1)
    out = np.empty(len(items))
    for start, block in iter_blocks(unit, items, dtype=np.float64):
        out[start : start + len(block)] = 1 - (block @ means.T).max(axis=1)
    return out
