"""Facts particular to ProbCover."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.kernels import blocks, neighbors
from poolwise.strategies import probcover as module


def circle(angles: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_takes_the_item_that_covers_most_first() -> None:
    angles = np.concatenate([0.01 * np.arange(21), 2 + 0.01 * np.arange(11), [4.0]])
    batch = pw.select("probcover", embeddings=circle(angles), radius=0.1005, batch_size=3)
    assert batch.indices.tolist() == [10, 21, 32]  # 21 to 31 cover one another; the lowest wins
    np.testing.assert_allclose(batch.scores, np.array([21, 11, 1]) / 33, rtol=1e-6)
    assert batch.notes["coverage"] == 1.0


def test_what_lies_around_labeled_items_is_covered() -> None:
    angles = np.concatenate([0.01 * np.arange(21), 2 + 0.01 * np.arange(11)])
    batch = pw.select("probcover", embeddings=circle(angles), labeled=[10], radius=0.1005, batch_size=1)
    assert batch.indices.tolist() == [21]


def test_a_covered_pool_is_filled_with_the_farthest_items() -> None:
    angles = 0.01 * np.arange(21)
    batch = pw.select("probcover", embeddings=circle(angles), radius=0.5, batch_size=3)
    assert batch.components["by_coverage"].tolist() == [True, False, False]
    assert batch.indices.tolist() == [0, 20, 10]


def test_radius_is_the_largest_with_the_wanted_purity() -> None:
    rng = np.random.default_rng(0)
    x = circle(np.concatenate([rng.normal(0, 0.1, 100), rng.normal(2, 0.1, 100)]))
    radius = module.pure_radius(x, np.arange(200), 2, 0.95, np.random.default_rng(0))
    side = np.repeat([0, 1], 100)
    foe = np.array([np.linalg.norm(x[side != side[i]] - x[i], axis=1).min() for i in range(200)])
    assert (foe > radius).mean() >= 0.95
    assert (foe > radius * 1.001).mean() < 0.95


@pytest.mark.parametrize("n", [127, 128, 129])
def test_rows_past_the_last_full_block_can_be_picked(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "QUERY_ROWS", 64)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 64)
    angles = np.linspace(0, 3, n)
    angles[-5:] = 5 + 0.001 * np.arange(5)  # the densest ball is in the tail
    batch = pw.select("probcover", embeddings=circle(angles), radius=0.01, batch_size=1)
    assert batch.indices[0] >= n - 5


def test_too_many_edges_fall_back_to_a_reference_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = circle(rng.uniform(0, 6.28, 5500))
    full = pw.select("probcover", embeddings=x, radius=0.1, batch_size=10)
    monkeypatch.setattr(module, "MAX_EDGES", 10_000)
    in_bits = pw.select("probcover", embeddings=x, radius=0.1, batch_size=10)
    np.testing.assert_array_equal(in_bits.indices, full.indices)
    assert in_bits.notes == full.notes
    monkeypatch.setattr(module, "WHOLE", 5000)
    sampled = pw.select("probcover", embeddings=x, radius=0.1, batch_size=10)
    assert sampled.notes["reference"] == 5000
    assert abs(sampled.notes["coverage"] - full.notes["coverage"]) < 0.05
