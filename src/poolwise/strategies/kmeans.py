"""k-means: divide the pool into as many clusters as items are wanted, and take the middle of each.

Source: Zhu, Wang, Yao & Tsou, "Active Learning with Sampling by Uncertainty and Density", COLING 2008,
section 4 (sampling by clustering); as the first batch of studies with foundation models: Gupte et al., "Revisiting
Active Learning in the Era of Vision Foundation Models", TMLR 2024, section 3.
Differs from the paper: rows are scaled to unit length; a cluster without a free member is replaced by the
item farthest from those chosen.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.clustering import kmeans as divide
from poolwise.kernels.clustering import nearest_members
from poolwise.kernels.distances import UnitRows
from poolwise.kernels.fill import fill_farthest
from poolwise.registry import strategy
from poolwise.types import IndexArray, Picks, Rows


@strategy(
    "kmeans",
    family="diversity",
    paper="Zhu et al., COLING 2008",
    cost="k-means with B clusters",
    use_when="First batch: nothing is labeled yet and every region should be seen once.",
    device=("D2 distances",),
)
def kmeans(
    embeddings: Rows,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    iterations: int = 20,
    normalize: bool = True,
) -> Picks:
    """Take the item nearest to the centre of each of B clusters, largest cluster first.

    Parameters
    ----------
    embeddings : (N, D) features
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, number of clusters, 1 <= B <= U
    rng : seeds the clusters
    iterations : most k-means iterations
    normalize : scale rows to unit length first

    Returns
    -------
    Picks; scores are the sizes of the clusters.

    Notes
    -----
    Time O(iterations x min(U, 256 B) x B x D); beyond 1000 clusters 39 training rows each. Memory O(U + B D).
    """
    if iterations < 1:
        raise OptionError(f"kmeans: iterations must be at least 1; got {iterations}.")
    rows = UnitRows(embeddings) if normalize else embeddings
    clusters = divide(rows, unlabeled, batch_size, rng, iterations=iterations)
    order = np.argsort(-clusters.sizes, kind="stable")
    nearest = nearest_members(clusters)[order]
    chosen = nearest[nearest >= 0]
    chosen = fill_farthest(rows, unlabeled, chosen, batch_size)
    return Picks(
        indices=unlabeled[chosen],
        scores=clusters.sizes[clusters.labels[chosen]].astype(np.float64),
        components={
            "cluster": clusters.labels[chosen],
            "distance_to_centre": np.sqrt(clusters.sq_distances[chosen]),
        },
        notes={"iterations": clusters.iterations, "trained_on": clusters.trained_on},
    )
