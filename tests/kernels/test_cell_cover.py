"""Coverage measured on the nearest reference rows is as good as with all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.kernels.cell_cover import _hold, _nearest, cell_soft_cover

NONE = np.empty(0, dtype=np.int64)


def coverage(x: np.ndarray, chosen: np.ndarray, sigma: float) -> float:
    gaps = np.min([((x - row) ** 2).sum(axis=1) for row in x[chosen]], axis=0)
    return float(np.exp(-gaps / sigma**2).mean())


def plain_greedy(x: np.ndarray, sigma: float, count: int) -> list[int]:
    similarity = np.exp(-np.array([((x - row) ** 2).sum(axis=1) for row in x]) / sigma**2)
    held, chosen = np.zeros(len(x)), []
    for _ in range(count):
        gains = np.maximum(similarity - held, 0).sum(axis=1)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        held = np.maximum(held, similarity[chosen[-1]])
    return chosen


@pytest.mark.parametrize("seed", range(3))
def test_reaches_97_percent_of_the_coverage_of_plain_greedy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = 2 * rng.normal(size=(40, 8))
    x = (centres[rng.integers(0, 40, 800)] + rng.normal(size=(800, 8))).astype(np.float32)
    every = np.arange(800)
    cover = cell_soft_cover(x, every, every, np.ones(800), 2.0, NONE, 50, np.random.default_rng(0))
    assert coverage(x, cover.positions, 2.0) >= 0.97 * coverage(x, np.array(plain_greedy(x, 2.0, 50)), 2.0)
    assert (np.diff(cover.gains) <= 1e-5).all()


def test_finds_most_of_the_true_neighbours() -> None:
    rng = np.random.default_rng(0)
    x = (3 * rng.normal(size=(30, 6)))[rng.integers(0, 30, 3000)] + rng.normal(size=(3000, 6))
    x = x.astype(np.float32)
    reference, queries = np.arange(0, 3000, 2), np.arange(1, 3000, 2)
    who, d2 = _nearest(x, queries, _hold(x, reference, rng), 40)
    true = np.array([((x[reference] - x[q]) ** 2).sum(axis=1) for q in queries])
    nearest = np.argsort(true, axis=1)[:, :40]
    assert np.mean([len(set(a) & set(b)) / 40 for a, b in zip(who.tolist(), nearest.tolist(), strict=True)]) > 0.95
    np.testing.assert_allclose(d2, np.take_along_axis(true, who.astype(np.int64), axis=1), rtol=1e-3)


def test_what_is_covered_already_counts() -> None:
    x = np.repeat(np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]], dtype=np.float32), 100, axis=0)
    x += np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    every = np.arange(300)
    cover = cell_soft_cover(x, every[101:], every, np.ones(300), 1.0, every[:100:5], 2, np.random.default_rng(0))
    assert sorted((every[101:][cover.positions] // 100).tolist()) == [1, 2]


def test_equal_rows_give_distinct_picks_in_order() -> None:
    x = np.zeros((90, 3), dtype=np.float32)
    cover = cell_soft_cover(x, np.arange(90), np.arange(90), np.ones(90), 1e-3, NONE, 90, np.random.default_rng(0))
    assert sorted(cover.positions.tolist()) == list(range(90))
