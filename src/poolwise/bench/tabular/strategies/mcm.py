"""Margin-cluster-mean: one item from the middle of each cluster of the items inside the margin.

Source: Xu, Yu, Tresp, Xu & Wang, "Representative Sampling for Text Classification Using Support Vector Machines",
ECIR 2003, as in google/active-learning, `margin_cluster_mean`.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from poolwise.bench.tabular.registry import State, tabular
from poolwise.bench.tabular.strategies.us import margins
from poolwise.types import IndexArray


@tabular("mcm", family="hybrid", paper="Xu et al., ECIR 2003", column="MCM", cost="instant")
def mcm(state: State) -> IndexArray:
    """Cluster the items nearer to the boundary than any labeled item; take the one nearest to each centre.

    With fewer such items than the batch, and for places that equal picks leave open, plain margin order.
    """
    margin = margins(state.fit().decision())
    order = state.unlabeled[np.lexsort((state.unlabeled, margin[state.unlabeled]))]
    inside = state.unlabeled[margin[state.unlabeled] < margin[state.labeled].min()]
    if len(inside) < state.batch_size:
        return order[: state.batch_size]
    x = state.x[inside]
    if state.batch_size == 1:
        centres = x.mean(axis=0, keepdims=True)
    else:
        seed = int(state.rng.integers(2**31))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct items than clusters
            centres = KMeans(n_clusters=state.batch_size, n_init=1, random_state=seed).fit(x).cluster_centers_
    gaps = ((x[:, None, :] - centres) ** 2).sum(axis=2)  # (inside, B)
    middle = set(inside[gaps.argmin(axis=0)].tolist())
    first = [position for position in order.tolist() if position in middle]
    return np.array((first + [p for p in order.tolist() if p not in middle])[: state.batch_size], dtype=np.int64)
