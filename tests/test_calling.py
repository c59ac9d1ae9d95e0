"""What every strategy can do around itself: random batches, prices, limits per group, a reduced pool."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import ArrayMissingError, BudgetError, InputError, OptionError
from poolwise.kernels import blocks
from poolwise.query import build_context, run_strategy
from poolwise.registry import STRATEGIES

RNG = np.random.default_rng(0)
N = 60
X = RNG.normal(size=(N, 4)).astype(np.float32)
W = RNG.normal(size=(3, 4)).astype(np.float32)
P = np.exp(X @ W.T) / np.exp(X @ W.T).sum(axis=1, keepdims=True)
COSTS = RNG.uniform(0.2, 5, N)
GROUPS = RNG.integers(0, 8, N)
LABELS = np.where(np.arange(N) < 6, np.arange(N) % 3, -1)
GIVEN: dict[str, Any] = {"embeddings": X, "probs": P, "head_weight": W, "labels": LABELS}
SOME = ["random", "margin", "mase", "base", "coreset", "badge", "typiclust", "uherding", "kmeans", "probcover"]


def margin_score(p: np.ndarray) -> float:
    first, second = sorted(p.tolist())[::-1][:2]
    return 1 - (first - second)


def test_score_per_cost_equals_sorting_the_quotients() -> None:
    batch = pw.select("margin", probs=P, costs=COSTS, batch_size=12)
    value = [margin_score(p) / c for p, c in zip(P, COSTS, strict=True)]
    assert batch.indices.tolist() == sorted(range(N), key=lambda i: -value[i])[:12]
    np.testing.assert_allclose(batch.components["cost"], COSTS[batch.indices])


def test_scores_below_zero_still_mean_that_cheaper_is_better() -> None:
    spec = replace(STRATEGIES["margin"], function=lambda probs: -10 * probs[:, 0], from_logits=None, judged=None)
    context = build_context(spec, {"probs": P, "costs": COSTS})
    got = run_strategy(spec, context, batch_size=10, seed=0, options={})
    value = (P[:, 0].max() - P[:, 0]) / COSTS
    assert got.indices.tolist() == np.argsort(-value)[:10].tolist()


def test_a_set_wise_strategy_spends_less_with_costs_and_the_same_without_differences() -> None:
    plain = pw.select("coreset", embeddings=X, batch_size=10)
    priced = pw.select("coreset", embeddings=X, costs=COSTS, batch_size=10)
    assert COSTS[priced.indices].sum() < COSTS[plain.indices].sum()
    same = pw.select("coreset", embeddings=X, costs=np.ones(N), batch_size=10)
    assert same.indices.tolist() == plain.indices.tolist()


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("costs", [None, COSTS], ids=["free", "priced"])
def test_no_group_exceeds_its_limit(name: str, costs: np.ndarray | None) -> None:
    batch = pw.select(name, **GIVEN, groups=GROUPS, costs=costs, max_per_group=2, batch_size=13)
    assert len(set(batch.indices.tolist())) == 13
    assert np.bincount(GROUPS[batch.indices]).max() <= 2
    assert (LABELS[batch.indices] == -1).all()
    assert len(batch.components["group"]) == 13


def test_limit_on_an_acquisition_equals_walking_down_the_ranking() -> None:
    ranking = pw.select("margin", probs=P, batch_size=N).indices.tolist()
    kept: list[int] = []
    for i in ranking:
        if sum(GROUPS[j] == GROUPS[i] for j in kept) < 2:
            kept.append(i)
    batch = pw.select("margin", probs=P, groups=GROUPS, max_per_group=2, batch_size=len(kept))
    assert batch.indices.tolist() == kept


def test_a_limit_that_cannot_be_kept_is_refused_in_numbers() -> None:
    with pytest.raises(BudgetError, match="max_per_group=1 leaves 8 of 60 items in 8 groups"):
        pw.select("margin", probs=P, groups=GROUPS, max_per_group=1, batch_size=9)
    with pytest.raises(ArrayMissingError, match="needs groups"):
        pw.select("margin", probs=P, max_per_group=1, batch_size=2)
    with pytest.raises(OptionError, match="at least 1"):
        pw.select("margin", probs=P, groups=GROUPS, max_per_group=0, batch_size=2)
    broken = COSTS.copy()
    broken[5] = 0
    with pytest.raises(InputError, match="costs of item 5"):
        pw.select("margin", probs=P, costs=broken, batch_size=2)


@pytest.mark.parametrize("kind", ["power", "softmax", "softrank"])
def test_random_batches_depend_on_the_seed_and_not_on_blocks(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def batch(seed: int) -> list[int]:
        return pw.select("margin", probs=P, stochastic=kind, batch_size=9, seed=seed).indices.tolist()

    first = batch(1)
    assert first == batch(1) != batch(2)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4)
    monkeypatch.setattr(blocks, "MIN_BLOCK_ROWS", 7)
    assert batch(1) == first


@pytest.mark.parametrize("within", ["random", "margin", "seals", "anchors"])
@pytest.mark.parametrize("name", ["coreset", "margin", "badge"])
def test_a_reduced_pool_is_where_the_batch_comes_from(name: str, within: str) -> None:
    batch = pw.select(name, **GIVEN, within=within, keep=20, batch_size=20)
    again = pw.select("random", **GIVEN, within=within, keep=20, batch_size=20)
    assert set(batch.indices.tolist()) == set(again.indices.tolist())  # all that is kept
    assert batch.notes["kept"] == 20 and batch.notes["dropped"] == N - 6 - 20 and batch.notes["within"] == within


def test_strategies_refuse_options_that_only_acquisitions_have() -> None:
    with pytest.raises(OptionError, match="coreset has no option 'stochastic'"):
        pw.select("coreset", embeddings=X, stochastic="power", batch_size=2)
