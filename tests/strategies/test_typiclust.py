"""Facts particular to TypiClust."""

from __future__ import annotations

import numpy as np

import poolwise as pw


def directions(n_blobs: int, per_blob: int, seed: int = 0) -> np.ndarray:
    """Blobs on the unit sphere in 16 dimensions."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.normal(size=(16, 16)))[0][:n_blobs]
    return np.repeat(centres, per_blob, axis=0) + 0.08 * rng.normal(size=(n_blobs * per_blob, 16))


def test_takes_an_inner_item_of_every_blob() -> None:
    x = directions(8, 60)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    batch = pw.select("typiclust", embeddings=x, batch_size=8)
    assert sorted((batch.indices // 60).tolist()) == list(range(8))
    for i in batch.indices:
        blob = unit[i // 60 * 60 : i // 60 * 60 + 60]
        radius = np.linalg.norm(blob - blob.mean(axis=0), axis=1)
        assert np.linalg.norm(unit[i] - blob.mean(axis=0)) <= np.quantile(radius, 0.25)


def test_clusters_with_a_label_come_last() -> None:
    x = directions(8, 60)
    batch = pw.select("typiclust", embeddings=x, labeled=[0, 61, 122], batch_size=5)
    assert sorted((batch.indices // 60).tolist()) == [3, 4, 5, 6, 7]


def test_outliers_are_not_taken_while_a_dense_cluster_is_unlabeled() -> None:
    rng = np.random.default_rng(1)
    far = rng.normal(size=(40, 16))
    x = np.concatenate([directions(6, 60), far])
    batch = pw.select("typiclust", embeddings=x, batch_size=6)
    assert (batch.indices < 360).all()


def test_asks_each_cluster_again_when_there_are_fewer_clusters_than_items_wanted() -> None:
    x = directions(4, 60)
    batch = pw.select("typiclust", embeddings=x, batch_size=40, max_clusters=4)
    assert np.bincount(batch.indices // 60).tolist() == [10, 10, 10, 10]
    typicality = np.asarray(batch.scores)[batch.indices // 60 == 0]
    assert (np.diff(typicality) <= 0).all()


def test_score_is_the_inverse_mean_distance_to_the_neighbours_in_the_cluster() -> None:
    x = directions(1, 50)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    batch = pw.select("typiclust", embeddings=x, batch_size=1, n_neighbors=5)
    means = [np.sort(np.linalg.norm(unit - row, axis=1))[1:6].mean() for row in unit]
    assert batch.indices[0] == int(np.argmin(means))
    np.testing.assert_allclose(batch.scores, 1 / (min(means) + 1e-5), rtol=1e-4)
