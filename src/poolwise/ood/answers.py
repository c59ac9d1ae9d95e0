"""Answers: a linear discriminant between labeled items and those that annotators rejected.

Source: Fisher, "The Use of Multiple Measurements in Taxonomic Problems", Annals of Eugenics 1936, with the shrunk
covariance of Ledoit & Wolf 2004; the use of rejected items as in Ning, Zhao, Li & Huang, "Active Learning for Open-set
Annotation", CVPR 2022.
Differs from the paper: closed form on the features, no network is trained; every labeled class is a group of its own,
so that only differences inside classes count as spread.
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.blocks import load_rows
from poolwise.kernels.gaussians import fit_gaussians
from poolwise.ood.labels import labeled_classes
from poolwise.registry import detector
from poolwise.types import BoolArray, FloatArray, IndexArray, Rows


@detector("answers", paper="arXiv:2201.06758", use_when="Annotators have rejected some items: it learns from them.")
def answers(
    embeddings: Rows,
    labels: IndexArray,
    labeled: IndexArray,
    items: IndexArray,
    foreign: BoolArray | None = None,
) -> FloatArray:
    """Score items by the log odds of the rejected group against the labeled classes, all with one covariance.

    Parameters
    ----------
    embeddings : (N, D) features
    labels : (N,) int64, -1 where unlabeled
    labeled : (L,) int64 pool indices, L >= 1
    items : (n,) int64 pool indices, sorted
    foreign : (N,) bool, items rejected by annotators; without any, the distance to the nearest class decides

    Returns
    -------
    (n,) float64: half the squared Mahalanobis distance to the nearest class minus that to the rejected group.

    Raises
    ------
    InputError
        If nothing is labeled.
    """
    y = labeled_classes("answers", labels, labeled)
    rejected = np.flatnonzero(foreign) if foreign is not None else labeled[:0]
    x = load_rows(embeddings, np.concatenate([labeled, rejected]), np.float64)
    group = np.concatenate([y, np.full(len(rejected), y.max() + 1)])
    model = fit_gaussians(x, group)
    if not len(rejected):
        return model.nearest(embeddings, items) / 2
    return model.against_last(embeddings, items) / 2
