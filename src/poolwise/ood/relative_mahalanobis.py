"""Relative Mahalanobis: how much farther an item is from its nearest class than from all labeled items taken together.

Source: Ren, Fort, Liu, Roy, Padhy & Lakshminarayanan, "A Simple Fix to Mahalanobis Distance for Improving Near-OOD
Detection", 2021, arXiv:2106.09022.
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.blocks import load_rows
from poolwise.kernels.gaussians import fit_gaussians
from poolwise.ood.labels import labeled_classes
from poolwise.registry import detector
from poolwise.types import FloatArray, IndexArray, Rows


@detector("relative_mahalanobis", paper="arXiv:2106.09022", use_when="Foreign items resemble the classes of interest.")
def relative_mahalanobis(embeddings: Rows, labels: IndexArray, labeled: IndexArray, items: IndexArray) -> FloatArray:
    """Score items by their squared distance to the nearest class minus that to one Gaussian of all labeled items.

    Parameters
    ----------
    embeddings : (N, D) features
    labels : (N,) int64, -1 where unlabeled
    labeled : (L,) int64 pool indices, L >= 1
    items : (n,) int64 pool indices, sorted

    Returns
    -------
    (n,) float64.

    Raises
    ------
    InputError
        If nothing is labeled.
    """
    y = labeled_classes("relative_mahalanobis", labels, labeled)
    x = load_rows(embeddings, labeled, np.float64)
    classes, everything = fit_gaussians(x, y), fit_gaussians(x, np.zeros_like(y))
    return (classes.nearest(embeddings, items) - everything.nearest(embeddings, items)) / embeddings.shape[1]
