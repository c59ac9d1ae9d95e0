"""Cluster-Margin: among the least certain items, take turns between clusters, smallest cluster first.

Source: Citovsky et al., "Batch Active Learning at Scale", NeurIPS 2021, Algorithm 1.
Differs from the paper: clusters come from k-means with one centre for `cluster_size` items (average linkage is
quadratic in the pool), and are computed in each call; small clusters keep their paper's order by size among the
candidates, and equal sizes are ordered by their smallest margin.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.clustering import kmeans
from poolwise.kernels.sampling import best_first, stream_scores
from poolwise.kernels.scores import margin
from poolwise.registry import strategy
from poolwise.types import IndexArray, Picks, Rows

MAX_CLUSTERS = 2000


@strategy(
    "cluster_margin",
    family="hybrid",
    paper="arXiv:2107.14263",
    cost="k-means, then one pass",
    use_when="Large batches and a head that is already good; the cheapest diverse uncertainty sampling.",
    device=("D2 distances",),
)
def cluster_margin(
    embeddings: Rows,
    probs: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    candidates_per_pick: float = 10.0,
    cluster_size: int = 50,
) -> Picks:
    """Keep the items with the smallest margins, then draw from their clusters in turn, smallest cluster first.

    Parameters
    ----------
    embeddings : (N, D) features that are clustered
    probs : (N, C) class probabilities
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted; both are clustered
    batch_size : B, 1 <= B <= U
    rng : seeds the clusters and draws inside them
    candidates_per_pick : min(U, this x B) items with the smallest margins compete
    cluster_size : mean number of items in a cluster; the paper's hold 10 to 100

    Returns
    -------
    Picks; scores are one minus the margin.

    Notes
    -----
    Time k-means with (L + U) / cluster_size centres, at most 2000; then O(U C). Memory O(N + K D).
    """
    if cluster_size < 1 or not candidates_per_pick >= 1:
        raise OptionError(
            "cluster_margin: cluster_size and candidates_per_pick must be at least 1; "
            f"got {cluster_size} and {candidates_per_pick}."
        )
    items = np.union1d(labeled, unlabeled)
    n_clusters = int(np.clip(len(items) // cluster_size, 1, MAX_CLUSTERS))
    clusters = kmeans(embeddings, items, n_clusters, rng)
    scores = stream_scores(margin, {"probs": probs}, unlabeled)
    n_candidates = int(min(len(unlabeled), max(batch_size, round(candidates_per_pick * batch_size))))
    kept = best_first(scores, unlabeled, n_candidates)
    group = clusters.labels[np.searchsorted(items, unlabeled[kept])]
    chosen = kept[round_robin(group, batch_size, rng)]
    cluster = clusters.labels[np.searchsorted(items, unlabeled[chosen])]
    return Picks(
        indices=unlabeled[chosen],
        scores=scores[chosen],
        components={"margin": 1 - scores[chosen], "cluster": cluster},
        notes={"clusters": n_clusters, "candidates": n_candidates, "groups": len(np.unique(group))},
    )


def round_robin(group: IndexArray, count: int, rng: np.random.Generator) -> IndexArray:
    """Visit groups from the smallest to the largest, again and again, taking one random unused member a visit.

    Parameters
    ----------
    group : (n,) int64, group of each candidate; equal sizes are visited in the order of first appearance
    count : 1 <= count <= n

    Returns
    -------
    (count,) int64 positions, in order.
    """
    names, first, inverse, sizes = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    place = np.empty(len(names), dtype=np.int64)
    place[np.lexsort((first, sizes))] = np.arange(len(names))
    shuffled = rng.permutation(len(group))
    order = shuffled[np.argsort(inverse[shuffled], kind="stable")]
    starts = np.cumsum(sizes) - sizes
    visit = np.arange(len(group)) - np.repeat(starts, sizes)
    chosen: IndexArray = order[np.lexsort((place[inverse[order]], visit))][:count]
    return chosen
