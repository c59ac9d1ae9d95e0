"""The rows nearest to the centres of clusters: one per cluster, as many as are asked for."""

from __future__ import annotations

import numpy as np

from poolwise.kernels.clustering import Clusters, kmeans, nearest_members
from poolwise.kernels.fill import fill_farthest
from poolwise.types import IndexArray, Rows


def middles(rows: Rows, indices: IndexArray, count: int, rng: np.random.Generator) -> tuple[IndexArray, Clusters]:
    """Divide rows into `count` clusters and take the row nearest to each centre, largest cluster first.

    Parameters
    ----------
    rows : (N, D)
    indices : (n,) int64 sorted pool indices
    count : 1 <= count <= n
    rng : seeds the clusters

    Returns
    -------
    (count,) positions within `indices`, and the clusters. A cluster without a row gives its place to the row farthest
    from those taken.
    """
    clusters = kmeans(rows, indices, count, rng)
    order = np.argsort(-clusters.sizes, kind="stable")
    nearest = nearest_members(clusters)[order]
    return fill_farthest(rows, indices, nearest[nearest >= 0], count), clusters
