"""Informative and diverse: margin order, but no cluster beyond its share of the pool.

Source: google/active-learning, `informative_diverse`. With one query a round it is uncertainty sampling, in the
published table too: use it with batches.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning

from poolwise.bench.tabular.registry import State, tabular
from poolwise.bench.tabular.strategies.us import margins
from poolwise.types import IndexArray


@tabular("infodiv", family="hybrid", paper="google/active-learning, 2017", column="InfoDiv", cost="instant")
def infodiv(state: State) -> IndexArray:
    """Take small margins first, skipping clusters that already fill their share of the batch; then the rest."""
    order = np.lexsort((state.unlabeled, margins(state.fit().decision()[state.unlabeled])))
    if state.batch_size == 1:
        return state.unlabeled[order[:1]]
    if "clusters" not in state.memo:
        seed = int(state.rng.integers(2**31))
        model = MiniBatchKMeans(n_clusters=state.n_classes, n_init=3, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct items than clusters
            state.memo["clusters"] = model.fit_predict(state.x)
    cluster = state.memo["clusters"]
    share = np.bincount(cluster, minlength=state.n_classes) / len(cluster)
    taken = np.zeros(state.n_classes, dtype=np.int64)
    batch: list[int] = []
    rest: list[int] = []
    for position in state.unlabeled[order].tolist():
        c = cluster[position]
        if len(batch) < state.batch_size and taken[c] / state.batch_size < share[c]:
            taken[c] += 1
            batch.append(position)
        else:
            rest.append(position)
    return np.array((batch + rest)[: state.batch_size], dtype=np.int64)
