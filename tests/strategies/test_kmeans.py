"""Facts particular to k-means selection."""

from __future__ import annotations

import numpy as np

import poolwise as pw


def test_takes_one_item_near_the_middle_of_each_blob() -> None:
    rng = np.random.default_rng(0)
    angles = np.repeat(np.arange(6), 30) * np.pi / 3 + rng.normal(scale=0.05, size=180)
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    batch = pw.select("kmeans", embeddings=x, batch_size=6)
    assert sorted((batch.indices // 30).tolist()) == list(range(6))
    for i in batch.indices:
        offset = np.abs(angles[i] - angles[i // 30 * 30 : i // 30 * 30 + 30].mean())
        assert offset < 0.02


def test_fills_up_with_the_farthest_items_when_rows_repeat() -> None:
    x = np.repeat(np.eye(4), 10, axis=0)
    batch = pw.select("kmeans", embeddings=x, batch_size=7)
    assert len(set((batch.indices[:4] // 10).tolist())) == 4
    assert len(set(batch.indices.tolist())) == 7


def test_length_matters_only_without_normalisation() -> None:
    x = np.array([[1.0, 0.0]] * 5 + [[100.0, 0.0]] * 5)
    by_length = pw.select("kmeans", embeddings=x, batch_size=2, normalize=False)
    assert sorted((by_length.indices // 5).tolist()) == [0, 1]
