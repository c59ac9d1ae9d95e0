"""Hierarchical sampling: query where a cluster tree is still impure.

Source: Dasgupta & Hsu, "Hierarchical Sampling for Active Learning", ICML 2008, Algorithm 1, on a Ward tree;
beta = 2 and bounds p +- (1 / n_v + sqrt(p (1 - p) / n_v)) as in google/active-learning.
Differs from the paper: the labels of the initial set count as answers; nodes without unlabeled items are not drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import ward

from poolwise.bench.tabular.registry import State, tabular
from poolwise.types import IndexArray

BETA = 2.0


class Tree:
    """A Ward tree with label counts. Nodes 0..n-1 are the items, node 2n-2 is the root.

    counts : (2n-1, C) answers seen below each node
    score : (2n-1,) estimated error of the best pruning below each node, in [0, 1]
    """

    def __init__(self, x: NDArray[np.float64], n_classes: int) -> None:
        n = len(x)
        self.n_items = n
        self.children = ward(x)[:, :2].astype(np.int64)  # (n-1, 2)
        self.parent = np.full(2 * n - 1, -1)
        self.size = np.ones(2 * n - 1, dtype=np.int64)
        for k, pair in enumerate(self.children):
            self.parent[pair] = n + k
            self.size[n + k] = self.size[pair].sum()
        self.counts = np.zeros((2 * n - 1, n_classes), dtype=np.int64)
        self.score = np.ones(2 * n - 1)
        self.pruning = {2 * n - 2}

    def bounds(self, node: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Share of each class below a node, and its lower and upper bound, (C,) each."""
        total = self.counts[node].sum()
        if total == 0:
            return np.zeros(self.counts.shape[1]), np.zeros(self.counts.shape[1]), np.ones(self.counts.shape[1])
        p = self.counts[node] / total
        slack = 1 / total + np.sqrt(p * (1 - p) / total)
        return p, np.maximum(p - slack, 0), np.minimum(p + slack, 1)

    def own_error(self, node: int) -> float:
        """Error of giving the whole node its best admissible label; 1 if no label is admissible."""
        p, low, high = self.bounds(node)
        errors = [1 - p[c] for c in range(len(p)) if 1 - low[c] < BETA * (1 - np.delete(high, c)).min()]
        return float(min(errors, default=1.0))

    def add(self, item: int, label: int) -> None:
        """Count an answer in all nodes above an item, and bring their scores up to date."""
        node = item
        while node >= 0:
            self.counts[node, label] += 1
            self.score[node] = self.own_error(node)
            if node >= self.n_items:
                pair = self.children[node - self.n_items]
                below = float(self.size[pair] @ self.score[pair] / self.size[node])
                self.score[node] = min(self.score[node], below)
            node = int(self.parent[node])

    def refine(self) -> None:
        """Replace nodes of the pruning by their children wherever these have the smaller estimated error."""
        open_, settled = list(self.pruning), set()
        while open_:
            node = open_.pop()
            if node >= self.n_items and self.score[node] < self.own_error(node):
                open_ += self.children[node - self.n_items].tolist()
            else:
                settled.add(node)
        self.pruning = settled

    def items(self, node: int) -> list[int]:
        """List the items below a node."""
        open_, found = [node], []
        while open_:
            node = open_.pop()
            if node < self.n_items:
                found.append(node)
            else:
                open_ += self.children[node - self.n_items].tolist()
        return found


@tabular("hier", family="density", paper="Dasgupta & Hsu, ICML 2008", column="Hier", cost="instant")
def hier(state: State) -> IndexArray:
    """Draw a node of the pruning by size times possible impurity, then an unlabeled item below it.

    Notes
    -----
    One Ward tree a run, O(n_train^2) memory while it is built; a query updates the path above the new answers.
    """
    if "tree" not in state.memo:
        state.memo["tree"], state.memo["seen"] = Tree(state.x, state.n_classes), set()
    tree, seen = state.memo["tree"], state.memo["seen"]
    for item in state.labeled.tolist():
        if item not in seen:
            seen.add(item)
            tree.add(item, int(state.labels[item]))
    tree.refine()
    free = set(state.unlabeled.tolist())
    batch: list[int] = []
    for _ in range(state.batch_size):
        nodes = sorted(tree.pruning)
        below = [[item for item in sorted(tree.items(node)) if item in free] for node in nodes]
        impure = np.array([1 - tree.bounds(node)[1].max() for node in nodes])
        weight = np.array([tree.size[node] for node in nodes]) * impure
        weight[[not items for items in below]] = 0
        if weight.sum() == 0:  # every node that is left looks pure
            weight = np.array([float(len(items)) for items in below])
        drawn = below[int(state.rng.choice(len(nodes), p=weight / weight.sum()))]
        batch.append(drawn[int(state.rng.integers(len(drawn)))])
        free.discard(batch[-1])
    return np.array(batch, dtype=np.int64)
