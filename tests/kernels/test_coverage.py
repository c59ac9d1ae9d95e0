"""Greedy coverage equals the plain greedy algorithm, and is as good as theory says."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from poolwise.kernels.balls import bit_balls, edge_balls
from poolwise.kernels.coverage import (
    greedy_cover,
    greedy_soft_cover,
    reference_notes,
    reference_size,
)


def plain_cover(inside: np.ndarray, count: int) -> tuple[list[int], list[int]]:
    covered = np.zeros(inside.shape[1], dtype=bool)
    chosen: list[int] = []
    gains: list[int] = []
    for _ in range(count):
        degree = (inside & ~covered).sum(axis=1)
        degree[chosen] = -1
        if degree.max() <= 0:
            break
        chosen.append(int(degree.argmax()))
        gains.append(int(degree.max()))
        covered |= inside[chosen[-1]]
    return chosen, gains


@pytest.mark.parametrize("seed", range(4))
def test_hard_coverage_equals_plain_greedy(seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(300, 3)).astype(np.float32)
    inside = np.array([np.linalg.norm(x - row, axis=1) <= 0.6 for row in x])
    for balls in (edge_balls(x, np.arange(300), 0.6), bit_balls(x, np.arange(300), np.arange(300), 0.6)):
        chosen, gains = greedy_cover(balls, np.zeros(300, dtype=bool), np.ones(300, dtype=bool), 200)
        assert (chosen.tolist(), gains.tolist()) == plain_cover(inside, 200)


def test_hard_coverage_reaches_its_share_of_the_optimum() -> None:
    x = np.random.default_rng(1).normal(size=(15, 2)).astype(np.float32)
    inside = np.array([np.linalg.norm(x - row, axis=1) <= 0.8 for row in x])
    best = max(inside[list(some)].any(axis=0).sum() for some in combinations(range(15), 3))
    _, gains = greedy_cover(edge_balls(x, np.arange(15), 0.8), np.zeros(15, dtype=bool), np.ones(15, dtype=bool), 3)
    assert gains.sum() >= (1 - 1 / np.e) * best
    assert (np.diff(gains) <= 0).all()


def plain_soft(x: np.ndarray, weights: np.ndarray, before: list[int], free: list[int], count: int) -> list[int]:
    x = x.astype(np.float64)
    similarity = np.exp(-np.array([((x - row) ** 2).sum(axis=1) for row in x]))
    held = similarity[before].max(axis=0, initial=0)
    chosen: list[int] = []
    for _ in range(count):
        gains = [(np.maximum(similarity[i] - held, 0) @ weights) if i not in chosen else -1 for i in free]
        chosen.append(free[int(np.argmax(gains))])
        held = np.maximum(held, similarity[chosen[-1]])
    return chosen


@pytest.mark.parametrize("seed", range(4))
def test_soft_coverage_with_old_gains_equals_plain_greedy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    weights = rng.random(300)
    before, free = np.array([3, 50]), np.delete(np.arange(300), [3, 50])
    cover = greedy_soft_cover(x, free, np.arange(300), weights, 1.0, before, 60)
    assert free[cover.positions].tolist() == plain_soft(x, weights, [3, 50], free.tolist(), 60)
    assert (np.diff(cover.gains) <= 1e-4).all()


def test_soft_coverage_of_duplicates_goes_on_with_the_lowest() -> None:
    x = np.zeros((100, 2), dtype=np.float32)
    every = np.arange(100)
    cover = greedy_soft_cover(x, every, every, np.full(100, 0.01), 1.0, every[:0], 100)
    assert cover.positions.tolist() == list(range(100))
    assert cover.coverage == pytest.approx(1.0)


def test_too_few_reference_rows_are_named_in_the_notes() -> None:
    assert reference_size(10_000, 100, 16, None) == 10_000
    assert reference_size(1_000_000, 100, 16, None) == 5000
    assert reference_size(1_000_000, 1000, 16, None) == 20_000
    assert "warning" not in reference_notes(20_000, 1_000_000, 1000)
    assert "20 per pick" in str(reference_notes(5000, 1_000_000, 1000)["warning"])
    assert "warning" not in reference_notes(300, 300, 1000)
