"""Facts particular to the centroid start."""

from __future__ import annotations

import numpy as np

import poolwise as pw

RNG = np.random.default_rng(0)
DIRECTIONS = np.eye(8)
TRUTH = np.repeat(np.arange(8), 20)
X = DIRECTIONS[TRUTH] * 10 + RNG.normal(size=(160, 8)) * 0.3


def test_takes_one_item_of_each_group() -> None:
    batch = pw.select("centroid", embeddings=X, batch_size=8)
    assert sorted(TRUTH[batch.indices]) == list(range(8))
    assert batch.indices.tolist() == pw.select("kmeans", embeddings=X, batch_size=8).indices.tolist()


def test_groups_that_hold_labels_come_last() -> None:
    labeled = [0, 20, 40, 60, 80]  # groups 0 to 4
    batch = pw.select("centroid", embeddings=X, labeled=labeled, batch_size=3)
    assert sorted(TRUTH[batch.indices]) == [5, 6, 7]
    assert (batch.components["cluster_labels"] == 0).all()
