"""TypiClust: the densest point of each of the largest clusters that hold no label yet.

Source: Hacohen, Dekel & Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets",
ICML 2022, Algorithm 1 and section 4; constants of the authors' code: 20 neighbours, at most 500 clusters,
clusters of at least 5 items.
Differs from the paper: small clusters are not dropped but visited last, so that a batch is always full.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.clustering import kmeans
from poolwise.kernels.distances import UnitRows
from poolwise.kernels.neighbors import mean_neighbor_distance_within
from poolwise.registry import strategy
from poolwise.types import BoolArray, FloatArray, IndexArray, Picks, Rows


@strategy(
    "typiclust",
    family="density",
    paper="arXiv:2202.02794",
    cost="k-means with at most 500 clusters, and distances inside clusters",
    use_when="Few labels so far (below about ten per class) and good embeddings.",
    device=("D2 distances",),
)
def typiclust(
    embeddings: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    n_neighbors: int = 20,
    max_clusters: int = 500,
    min_cluster: int = 5,
    power: Literal[1, 2] = 1,
) -> Picks:
    """Cycle over clusters, fewest labels and then largest first, and take the most typical item left in each.

    Parameters
    ----------
    embeddings : (N, D) features, best from self-supervised or foundation models
    labeled : (L,) int64 pool indices, sorted; may be empty
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : seeds the clusters
    n_neighbors : neighbours that define typicality; at most half of the cluster
    max_clusters : most clusters; there are min(L + B, max_clusters)
    min_cluster : clusters of at most so many items are visited only when no other is left
    power : 1 for distances as in the paper, 2 for squared distances as in some code

    Returns
    -------
    Picks; scores are the typicality, 1 / (mean distance to the neighbours + 1e-5).

    Notes
    -----
    Time O(20 min(L + U, 256 K) K D + (L + U)^2 D / K) for K clusters; memory O(N + K D) and one cluster.
    """
    if n_neighbors < 1 or max_clusters < 1 or min_cluster < 0:
        raise OptionError(
            "typiclust: n_neighbors and max_clusters must be at least 1 and min_cluster at least 0; "
            f"got {n_neighbors}, {max_clusters} and {min_cluster}."
        )
    items = np.union1d(labeled, unlabeled)
    rows = UnitRows(embeddings)
    n_clusters = int(min(len(labeled) + batch_size, max_clusters, len(items)))
    clusters = kmeans(rows, items, n_clusters, rng)
    spread = mean_neighbor_distance_within(rows, items, clusters.labels, n_neighbors, power=power)
    typicality = 1 / (spread + 1e-5)
    free = np.isin(items, unlabeled, assume_unique=True)
    n_labeled = np.bincount(clusters.labels[~free], minlength=n_clusters)
    order = np.lexsort((np.arange(n_clusters), -clusters.sizes, n_labeled))
    large = clusters.sizes[order] > min_cluster
    chosen = _cycle(clusters.labels, typicality, free, [order[large], order[~large]], batch_size)
    return Picks(
        indices=items[chosen],
        scores=typicality[chosen],
        components={
            "cluster": clusters.labels[chosen],
            "cluster_size": clusters.sizes[clusters.labels[chosen]],
            "cluster_labels": n_labeled[clusters.labels[chosen]],
        },
        notes={"clusters": n_clusters, "clusters_without_label": int((n_labeled == 0).sum())},
    )


def _cycle(
    labels: IndexArray, typicality: FloatArray, free: BoolArray, tiers: list[IndexArray], count: int
) -> IndexArray:
    """Visit the clusters of the first tier in order, again and again, then those of the next; one item a visit."""
    left = np.flatnonzero(free)
    left = left[np.lexsort((left, -typicality[left], labels[left]))]
    by_cluster = labels[left]
    starts = np.flatnonzero(np.diff(by_cluster, prepend=-1))
    visit = np.arange(len(left)) - np.repeat(starts, np.diff(starts, append=len(left)))  # 0 = most typical
    place = np.empty(sum(map(len, tiers)), dtype=np.int64)
    tier = np.empty_like(place)
    for number, clusters in enumerate(tiers):
        place[clusters], tier[clusters] = np.arange(len(clusters)), number
    chosen: IndexArray = left[np.lexsort((place[by_cluster], visit, tier[by_cluster]))][:count]
    return chosen
