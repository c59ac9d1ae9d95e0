"""Facts particular to Cluster-Margin."""

from __future__ import annotations

import numpy as np

import poolwise as pw
from poolwise.strategies.cluster_margin import round_robin


def margins(values: np.ndarray) -> np.ndarray:
    """(n, 2) probabilities with given margins."""
    return np.stack([(1 + values) / 2, (1 - values) / 2], axis=1)


def test_only_the_least_certain_items_compete() -> None:
    rng = np.random.default_rng(0)
    m = rng.random(400)
    batch = pw.select(
        "cluster_margin", embeddings=rng.normal(size=(400, 3)), probs=margins(m), batch_size=10, candidates_per_pick=3
    )
    assert set(batch.indices.tolist()) <= set(np.argsort(m)[:30].tolist())
    np.testing.assert_allclose(batch.components["margin"], m[batch.indices], atol=1e-6)


def test_without_slack_the_smallest_margins_are_taken() -> None:
    rng = np.random.default_rng(0)
    m = rng.random(300)
    batch = pw.select(
        "cluster_margin", embeddings=rng.normal(size=(300, 3)), probs=margins(m), batch_size=20, candidates_per_pick=1
    )
    assert set(batch.indices.tolist()) == set(np.argsort(m)[:20].tolist())


def test_groups_are_visited_from_the_smallest_and_exhausted_ones_are_skipped() -> None:
    group = np.array([7, 7, 7, 7, 2, 2, 5])
    order = group[round_robin(group, 7, np.random.default_rng(0))]
    assert order.tolist() == [5, 2, 7, 2, 7, 7, 7]


def test_single_members_are_never_starved() -> None:
    group = np.concatenate([np.zeros(50, dtype=int), np.arange(1, 9)])
    chosen = round_robin(group, 9, np.random.default_rng(0))
    assert set(group[chosen].tolist()) == set(range(9))


def test_inside_one_group_the_draw_is_uniform() -> None:
    group = np.zeros(6, dtype=int)
    counts = np.bincount(
        np.concatenate([round_robin(group, 2, np.random.default_rng(s)) for s in range(3000)]), minlength=6
    )
    chi = ((counts - 1000) ** 2 / 1000).sum()
    assert chi < 20.5  # 99.9 % of chi-square with 5 degrees of freedom; draws without replacement vary less
