"""k-means: a fixed point of Lloyd's rule, whole clusters, and the middle member of each."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.kernels import clustering, vectors
from poolwise.kernels.clustering import kmeans, nearest_members


def blobs(n_blobs: int, per_blob: int, width: int = 6, offset: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = 20 * rng.normal(size=(n_blobs, width))
    return (np.repeat(centres, per_blob, axis=0) + rng.normal(size=(n_blobs * per_blob, width)) + offset).astype(
        np.float32
    )


def plain_assignment(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return np.array([((row.astype(np.float64) - centres) ** 2).sum(axis=1).argmin() for row in x])


def test_ends_in_a_fixed_point_of_lloyds_rule() -> None:
    x = np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32)
    found = kmeans(x, np.arange(500), 7, np.random.default_rng(0), iterations=500)
    assert found.iterations < 500
    means = np.array([x[found.labels == c].mean(axis=0) for c in range(7)])
    np.testing.assert_allclose(found.centres, means, atol=1e-5)
    assert (plain_assignment(x, found.centres) == found.labels).mean() > 0.995
    exact = ((x - found.centres[found.labels]) ** 2).sum(axis=1)
    np.testing.assert_allclose(found.sq_distances, exact, rtol=1e-3, atol=1e-5)
    assert found.sizes.tolist() == np.bincount(found.labels, minlength=7).tolist()


@pytest.mark.parametrize("offset", [0.0, 5000.0])
def test_finds_separate_blobs_even_far_from_the_origin(offset: float) -> None:
    x = blobs(8, 40, offset=offset)
    found = kmeans(x, np.arange(320), 8, np.random.default_rng(3))
    groups = found.labels.reshape(8, 40)
    assert (groups == groups[:, :1]).all()
    assert len(np.unique(groups[:, 0])) == 8


def test_inertia_is_close_to_that_of_scikit_learn() -> None:
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=(3000, 10)) @ rng.normal(size=(10, 32)), 0).astype(np.float32)
    ours = np.mean([kmeans(x, np.arange(3000), 40, np.random.default_rng(s)).sq_distances.sum() for s in range(5)])
    peer = np.mean([KMeans(40, n_init=1, max_iter=20, random_state=s).fit(x).inertia_ for s in range(5)])
    assert ours < 1.02 * peer


def test_training_on_a_sample_assigns_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "MIN_TRAINED", 0)
    x = blobs(5, 400)
    found = kmeans(x, np.arange(2000), 5, np.random.default_rng(0), rows_per_cluster=50)
    assert found.trained_on == 250
    groups = found.labels.reshape(5, 400)
    assert (groups == groups[:, :1]).all()


def test_only_the_given_rows_count_and_half_precision_is_read() -> None:
    x = blobs(3, 20)
    x[7] = 1e4
    kept = np.delete(np.arange(60), 7)
    found = kmeans(x.astype(np.float16), kept, 3, np.random.default_rng(0))
    assert len(found.labels) == 59
    assert sorted(found.sizes.tolist()) == [19, 20, 20]


def test_duplicates_leave_clusters_empty_only_when_rows_run_out() -> None:
    x = np.repeat(np.arange(4, dtype=np.float32)[:, None], 25, axis=0)
    found = kmeans(x, np.arange(100), 9, np.random.default_rng(0))
    assert (found.sizes > 0).sum() == 4
    assert found.sq_distances.max() == 0
    nearest = nearest_members(found)
    assert sorted(nearest[nearest >= 0].tolist()) == [0, 25, 50, 75]


def test_same_labels_for_any_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    x = blobs(6, 50, width=5)
    x += np.random.default_rng(5).normal(scale=15, size=x.shape).astype(np.float32)
    whole = kmeans(x, np.arange(300), 12, np.random.default_rng(0)).labels
    monkeypatch.setattr(vectors, "block_rows_for", lambda rows: 37)
    assert (kmeans(x, np.arange(300), 12, np.random.default_rng(0)).labels == whole).all()


def test_nearest_member_is_the_closest_allowed_row_and_the_first_of_two() -> None:
    x = np.array([[0.0], [2.0], [10.0], [11.0], [12.5]], dtype=np.float32)
    found = kmeans(x, np.arange(5), 2, np.random.default_rng(0))
    low, high = found.labels[0], found.labels[4]
    assert low != high
    nearest = nearest_members(found)
    assert (nearest[low], nearest[high]) == (0, 3)  # 0 and 2 are equally far from 1
    allowed = np.array([False, True, True, False, True])
    nearest = nearest_members(found, allowed)
    assert (nearest[low], nearest[high]) == (1, 2)
    assert nearest_members(found, np.array([True, False, False, False, False]))[high] == -1
