"""Facts particular to the open-set baselines: similar, lfosa, ccal and mqnet."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import InputError, OptionError
from poolwise.strategies.lfosa import upper_component
from poolwise.strategies.mqnet import fit_monotone


def open_pool(seed: int = 0) -> tuple[dict[str, Any], np.ndarray]:
    """Two known classes, and 60 % foreign items around two other directions; 20 labels, 20 rejected."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, 400, p=[0.2, 0.2, 0.3, 0.3])
    x = rng.normal(size=(400, 5)) + 4 * np.eye(5)[truth]
    known, other = np.flatnonzero(truth < 2), np.flatnonzero(truth >= 2)
    labels = np.full(400, -1)
    labels[known[:20]] = truth[known[:20]]
    pool = {"embeddings": x, "labels": labels, "head_weight": np.eye(5)[:2], "foreign": other[:20]}
    return pool, truth


@pytest.mark.parametrize("strategy", ["similar", "lfosa", "ccal", "mqnet"])
def test_batches_hold_fewer_foreign_items_than_the_pool(strategy: str) -> None:
    pool, truth = open_pool()
    if strategy == "lfosa":
        pool.pop("head_weight")
    if strategy in ("similar", "ccal"):
        pool.pop("head_weight")
    got = pw.select(strategy, batch_size=30, **pool)
    assert (truth[got.indices] >= 2).mean() < 0.2


def test_similar_maximises_its_objective_to_the_bound_of_greedy() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(15, 3))
    labels = np.r_[0, 1, 0, np.full(12, -1)]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    s = np.maximum(unit[3:] @ unit[:3].T, 0)

    def objective(batch: tuple[int, ...]) -> float:
        part = s[list(batch)]
        return float(part.max(axis=0).sum() + part.max(axis=1).sum())

    got = pw.select("similar", batch_size=3, embeddings=x, labels=labels)
    best = max(objective(b) for b in combinations(range(12), 3))
    assert objective(tuple(got.indices - 3)) >= (1 - 1 / np.e) * best
    assert got.scores is not None and got.scores.sum() == pytest.approx(objective(tuple(got.indices - 3)), rel=1e-5)
    chosen: list[int] = []
    for _ in range(3):
        chosen.append(max((i for i in range(12) if i not in chosen), key=lambda i: objective((*chosen, i))))
    assert (got.indices - 3).tolist() == chosen


def test_similar_finds_a_rare_class() -> None:
    rng = np.random.default_rng(0)
    truth = (np.arange(2000) < 20).astype(int)
    x = rng.normal(size=(2000, 8)) + 6 * np.eye(8)[truth]
    labels = np.full(2000, -1)
    labels[[0, 1, 2]], labels[[500, 501]] = 1, 0
    got = pw.select("similar", batch_size=20, embeddings=x, labels=labels, target=1).indices
    assert truth[got].mean() >= 5 * 0.01
    with pytest.raises(InputError, match="class 7"):
        pw.select("similar", batch_size=20, embeddings=x, labels=labels, target=7)


def test_mixture_tells_two_groups_apart() -> None:
    rng = np.random.default_rng(0)
    values = np.r_[rng.normal(-5, 1, 200), rng.normal(5, 0.5, 50)]
    p = upper_component(values)
    assert p[:200].max() < 0.01 and p[200:].min() > 0.99
    assert upper_component(np.ones(4)).tolist() == [1] * 4
    assert upper_component(np.array([3.0])).tolist() == [1]
    assert len(upper_component(np.empty(0))) == 0


def test_lfosa_takes_the_surest_or_of_them_the_least_certain() -> None:
    pool, truth = open_pool(2)
    surest = pw.select("lfosa", batch_size=10, **pool)
    assert np.all(np.diff(surest.components["purity"]) <= 0)
    useful = pw.select("lfosa", batch_size=10, informative=3.0, **pool)
    assert set(useful.indices) <= set(pw.select("lfosa", batch_size=30, **pool).indices)
    assert (truth[useful.indices] >= 2).sum() <= 1
    with pytest.raises(OptionError, match="informative"):
        pw.select("lfosa", batch_size=10, informative=0.5, **pool)


def test_ccal_takes_candidates_by_resemblance_and_picks_by_distance() -> None:
    pool, _ = open_pool(3)
    pool.pop("head_weight")
    got = pw.select("ccal", batch_size=10, **pool)
    every = pw.select("ccal", batch_size=30, candidates_per_pick=1.0, **pool).indices
    assert set(got.indices) <= set(every)
    assert got.scores is not None and np.all(np.diff(got.scores) <= 1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_network_falls_in_no_input_and_ranks_what_it_was_shown(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(200, 2))
    worth = np.where(x[:, 1] > 0.5, 0.2 + x[:, 0], 0.0)
    net = fit_monotone(x, worth, rng)
    for step in ([0.1, 0], [0, 0.1]):
        assert np.all(net.scores(x + step) >= net.scores(x) - 1e-12)
    i, j = rng.integers(200, size=(2, 2000))
    apart = worth[i] != worth[j]
    right = np.sign(net.scores(x[i]) - net.scores(x[j])) == np.sign(worth[i] - worth[j])
    assert right[apart].mean() > 0.75


def test_mqnet_sums_both_until_it_has_something_to_learn_from() -> None:
    pool, _ = open_pool(4)
    assert pw.select("mqnet", batch_size=5, **pool).notes["learned"]
    assert not pw.select("mqnet", batch_size=5, **(pool | {"foreign": pool["foreign"][:2]})).notes["learned"]


def test_similar_without_resemblance_takes_one_representative_of_each_query() -> None:
    """eta = 0: three labeled directions, one of them crowded; three picks lie along the three."""
    rng = np.random.default_rng(2)
    of = np.r_[0, 1, 2, np.repeat([0, 1, 2], [80, 10, 10])]
    x = np.eye(6)[of] + 0.1 * rng.normal(size=(103, 6))
    labels = np.r_[0, 1, 2, np.full(100, -1)]
    got = pw.select("similar", batch_size=3, embeddings=x, labels=labels, eta=0.0).indices
    assert sorted(of[got].tolist()) == [0, 1, 2]


def test_mqnet_asks_for_fewer_foreign_items_than_the_pool_holds_by_round_three() -> None:
    """60 % foreign; three rounds in which every answer, of a class or "not of interest", is given back; six seeds."""
    asked_for, left_over = [], []
    for seed in range(10, 16):
        rng = np.random.default_rng(seed)
        truth = rng.choice(4, 600, p=[0.2, 0.2, 0.3, 0.3])
        x = rng.normal(size=(600, 6)) + 3 * np.eye(6)[truth]
        asked = rng.permutation(600)[:30]
        for number in range(3):
            labels = np.full(600, -1)
            mine = asked[truth[asked] < 2]
            labels[mine] = truth[mine]
            foreign = asked[truth[asked] >= 2]
            given = {"embeddings": x, "labels": labels, "head_weight": np.eye(6)[:2], "foreign": foreign}
            batch = pw.select("mqnet", batch_size=30, seed=number, **given).indices
            free = np.setdiff1d(np.arange(600), asked)
            asked = np.concatenate([asked, batch])
        asked_for.append((truth[batch] >= 2).mean())
        left_over.append((truth[free] >= 2).mean())
    assert np.mean(asked_for) < np.mean(left_over) - 0.15
