"""Centroid start: cluster labeled and unlabeled items together, and take the middle of each cluster without a label.

Source: Gupte et al., "Revisiting Active Learning in the Era of Vision Foundation Models", TMLR 2024, section 3 (first
batch from k-means centroids).
Differs from the paper: later batches count what is labeled, with L + B clusters of which those that hold labels come
last; without labels the picks are those of the paper.
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.clustering import kmeans, nearest_members
from poolwise.kernels.distances import UnitRows
from poolwise.kernels.fill import fill_farthest
from poolwise.registry import strategy
from poolwise.types import IndexArray, Picks, Rows


@strategy(
    "centroid",
    family="diversity",
    paper="TMLR 2024",
    cost="k-means with L + B clusters, at most 2000 more than B",
    use_when="First batches on strong embeddings, before a head is worth asking.",
    device=("D2 distances",),
)
def centroid(
    embeddings: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
) -> Picks:
    """Take the unlabeled item nearest to the centre of each cluster, clusters with fewest labels first.

    Parameters
    ----------
    embeddings : (N, D) features; rows are scaled to unit length
    labeled : (L,) int64 pool indices, sorted; may be empty
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : seeds the clusters

    Returns
    -------
    Picks; scores are the sizes of the clusters.

    Notes
    -----
    Time O(20 min(L + U, 256 K) K D) for K clusters. Memory O(L + U + K D).
    """
    rows = UnitRows(embeddings)
    items = np.union1d(labeled, unlabeled)
    free = np.isin(items, unlabeled, assume_unique=True)
    clusters = kmeans(rows, items, min(batch_size + min(len(labeled), 2000), len(items)), rng)
    n_labeled = np.bincount(clusters.labels[~free], minlength=len(clusters.sizes))
    order = np.lexsort((-clusters.sizes, n_labeled))
    nearest = nearest_members(clusters, free)[order]
    at = np.searchsorted(unlabeled, items[nearest[nearest >= 0]])[:batch_size]
    chosen = fill_farthest(rows, unlabeled, at, batch_size, others=labeled)
    where = clusters.labels[np.searchsorted(items, unlabeled[chosen])]
    return Picks(
        unlabeled[chosen],
        clusters.sizes[where].astype(np.float64),
        {"cluster": where, "cluster_labels": n_labeled[where]},
        {"clusters": len(clusters.sizes), "clusters_without_label": int((n_labeled == 0).sum())},
    )
