"""Mahalanobis: distance to the nearest class, all classes with one covariance.

Source: Lee, Lee, Lee & Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
Attacks", NeurIPS 2018.
Differs from the paper: one layer, the pool's embeddings; no input perturbation; the covariance is shrunk where labels
are few (Ledoit-Wolf).
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.blocks import load_rows
from poolwise.kernels.gaussians import fit_gaussians
from poolwise.ood.labels import labeled_classes
from poolwise.registry import detector
from poolwise.types import BoolArray, FloatArray, IndexArray, Rows


@detector("mahalanobis", paper="arXiv:1807.03888", use_when="Foreign items lie far from all classes of the features.")
def mahalanobis(
    embeddings: Rows,
    labels: IndexArray,
    labeled: IndexArray,
    items: IndexArray,
    foreign: BoolArray | None = None,
    *,
    use_foreign: bool = False,
) -> FloatArray:
    """Score items by their squared Mahalanobis distance to the nearest labeled class, over the width.

    Parameters
    ----------
    embeddings : (N, D) features
    labels : (N,) int64, -1 where unlabeled
    labeled : (L,) int64 pool indices, L >= 1
    items : (n,) int64 pool indices, sorted
    foreign : (N,) bool, items rejected by annotators
    use_foreign : subtract the squared distance to a Gaussian of the rejected items, where there are two or more

    Returns
    -------
    (n,) float64, >= 0 without `use_foreign`.

    Raises
    ------
    InputError
        If nothing is labeled.
    """
    y = labeled_classes("mahalanobis", labels, labeled)
    scores = fit_gaussians(load_rows(embeddings, labeled, np.float64), y).nearest(embeddings, items)
    rejected = np.flatnonzero(foreign) if use_foreign and foreign is not None else labeled[:0]
    if len(rejected) >= 2:
        x = load_rows(embeddings, rejected, np.float64)
        scores = scores - fit_gaussians(x, np.zeros(len(x), dtype=np.int64)).nearest(embeddings, items)
    return scores / embeddings.shape[1]
