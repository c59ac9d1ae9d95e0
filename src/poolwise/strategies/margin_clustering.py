"""Margin clustering: visit 20 clusters from the smallest to the largest, taking the smallest margin left in each.

Source: Emam et al., "Active Learning at the ImageNet Scale", arXiv:2111.12880, and its public code, after Citovsky et
al., NeurIPS 2021.
Differs from the paper: beyond 5000 items, Ward's linkage joins the centres of 1000 k-means clusters.
"""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import fcluster, ward

from poolwise.errors import OptionError
from poolwise.kernels.blocks import load_rows
from poolwise.kernels.clustering import kmeans
from poolwise.kernels.sampling import best_first, stream_scores
from poolwise.kernels.scores import margin
from poolwise.registry import strategy
from poolwise.types import IndexArray, Picks, Rows

EXACT_ROWS, CENTRES = 5000, 1000


@strategy(
    "margin_clustering",
    family="hybrid",
    paper="arXiv:2111.12880",
    cost="k-means with 1000 clusters, then one pass",
    use_when="To repeat published ImageNet numbers; cluster_margin is the method it stands for.",
    device=("D2 distances",),
)
def margin_clustering(
    embeddings: Rows,
    probs: Rows,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    clusters: int = 20,
) -> Picks:
    """Take the least certain item of each cluster in turn, smallest cluster first.

    Parameters
    ----------
    embeddings : (N, D) features that are clustered
    probs : (N, C) class probabilities
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : seeds k-means in large pools
    clusters : >= 1

    Returns
    -------
    Picks; scores are one minus the margin.

    Raises
    ------
    OptionError
        If clusters is below 1.

    Notes
    -----
    Time and memory U^2 up to 5000 items, else k-means with 1000 centres.
    """
    if clusters < 1:
        raise OptionError(f"margin_clustering: clusters must be at least 1; got {clusters}.")
    group = ward_clusters(embeddings, unlabeled, clusters, rng)
    scores = stream_scores(margin, {"probs": probs}, unlabeled)
    order = best_first(scores, unlabeled, len(unlabeled))
    chosen = order[visits(group[order], batch_size)]
    return Picks(
        unlabeled[chosen],
        scores[chosen],
        {"margin": 1 - scores[chosen], "cluster": group[chosen]},
        {"clusters": len(np.unique(group))},
    )


def ward_clusters(rows: Rows, indices: IndexArray, count: int, rng: np.random.Generator) -> IndexArray:
    """Cluster rows by Ward's linkage, (n,) numbers from 0."""
    if len(indices) == 1:
        return np.zeros(1, dtype=np.int64)
    if len(indices) <= EXACT_ROWS:
        return np.asarray(fcluster(ward(load_rows(rows, indices, np.float64)), count, "maxclust"), dtype=np.int64) - 1
    small = kmeans(rows, indices, CENTRES, rng)
    return (
        np.asarray(fcluster(ward(small.centres.astype(np.float64)), count, "maxclust"), dtype=np.int64)[small.labels]
        - 1
    )


def visits(group: IndexArray, count: int) -> IndexArray:
    """Visit groups by size, then number, again and again, and take the first member left: (count,) positions.

    Parameters
    ----------
    group : (n,) group of each row, rows in order of preference
    """
    names, inverse, sizes = np.unique(group, return_inverse=True, return_counts=True)
    place = np.empty(len(names), dtype=np.int64)
    place[np.lexsort((names, sizes))] = np.arange(len(names))
    by_group = np.argsort(inverse, kind="stable")
    starts = np.cumsum(sizes) - sizes
    visit = np.empty(len(group), dtype=np.int64)
    visit[by_group] = np.arange(len(group)) - np.repeat(starts, sizes)
    return np.asarray(np.lexsort((place[inverse], visit))[:count])
