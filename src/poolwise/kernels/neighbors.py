"""Nearest neighbours and radius graphs by blocked matrix products; no N x N array is ever held."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from poolwise.kernels.blocks import load_rows
from poolwise.kernels.distances import sq_distances
from poolwise.types import FloatArray, IndexArray, Rows

QUERY_ROWS = 1024
"""Rows compared with all others in one matrix product."""


def mean_neighbor_distance_within(
    rows: Rows, indices: IndexArray, groups: IndexArray, n_neighbors: int, *, power: int = 1
) -> FloatArray:
    """Mean distance of each row to its nearest neighbours among the rows of its own group, itself excluded.

    Parameters
    ----------
    rows : (N, D)
    indices : (n,) int64 sorted pool indices
    groups : (n,) int64, group of each
    n_neighbors : neighbours to average over; at most half the size of the group, at least 1
    power : 1 for distances, 2 for squared distances

    Returns
    -------
    (n,) float64; inf for the only row of a group.

    Notes
    -----
    Time O(sum of squared group sizes x D); memory one group and one block of its distances.
    """
    out = np.full(len(indices), np.inf)
    order = np.argsort(groups, kind="stable")
    bounds = np.flatnonzero(np.diff(groups[order], prepend=-1, append=-1))
    for start, stop in pairwise(bounds.tolist()):
        members = order[start:stop]
        if len(members) < 2:
            continue
        x = load_rows(rows, indices[members])
        count = max(1, min(n_neighbors, len(members) // 2))
        for at in range(0, len(members), QUERY_ROWS):
            d2 = sq_distances(x[at : at + QUERY_ROWS], x)  # (n, members)
            d2[np.arange(len(d2)), at + np.arange(len(d2))] = np.inf
            near = np.partition(d2, count - 1, axis=1)[:, :count].astype(np.float64)
            out[members[at : at + QUERY_ROWS]] = (near if power == 2 else np.sqrt(near)).mean(axis=1)
    return out
