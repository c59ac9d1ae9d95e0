"""Graph density: items in the middle of dense neighbourhoods that no query has covered yet.

Source: Ebert, Fritz & Schiele, "RALF: A Reinforced Active Learning Formulation for Object Class Recognition",
CVPR 2012, as in google/active-learning: symmetric 10-nearest-neighbour graph in Manhattan distance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from poolwise.bench.tabular.registry import State, tabular
from poolwise.types import BoolArray, IndexArray

N_NEIGHBORS = 10


def neighbor_graph(x: NDArray[np.float64]) -> tuple[BoolArray, NDArray[np.float64]]:
    """Join every row with its 10 nearest others; an edge in either direction counts for both.

    Returns
    -------
    edges (n, n) bool, symmetric, and the mean weight exp(-distance / d) of the edges of each row, (n,) float64.
    """
    distance = cdist(x, x, "cityblock")
    np.fill_diagonal(distance, np.inf)
    count = min(N_NEIGHBORS, len(x) - 1)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :count]
    edges = np.zeros((len(x), len(x)), dtype=bool)
    edges[np.arange(len(x))[:, None], nearest] = True
    edges |= edges.T
    weights = np.where(edges, np.exp(-distance / x.shape[1]), 0.0)
    return edges, weights.sum(axis=1) / edges.sum(axis=1)


@tabular("graph_density", family="density", paper="Ebert et al., CVPR 2012", column="Graph", cost="instant")
def graph_density(state: State) -> IndexArray:
    """Take the densest item, lower its neighbours by its density, and so on; densities persist between queries."""
    if "edges" not in state.memo:
        state.memo["edges"], state.memo["density"] = neighbor_graph(state.x)
    edges, density = state.memo["edges"], state.memo["density"]
    density[state.labeled] = density.min() - 1
    batch = np.empty(state.batch_size, dtype=np.int64)
    for i in range(state.batch_size):
        batch[i] = density.argmax()
        density[edges[batch[i]]] -= density[batch[i]]
        density[state.labeled] = density.min() - 1
        density[batch[: i + 1]] = density.min() - 1
    return batch
