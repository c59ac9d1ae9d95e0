"""EXP4.P and ALBL follow their papers' formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import poolwise as pw
from poolwise.auto.albl import MOST_CANDIDATES, draw_items
from poolwise.auto.exp4p import batch_updated, least_probability, probabilities, updated, weighted_accuracy
from poolwise.errors import OptionError

ARMS = ("margin", "coreset", "random")


def pool(seed: int = 0) -> tuple[dict[str, Any], np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 200)
    x = (2 * rng.normal(size=(3, 5))[y] + rng.normal(size=(200, 5))).astype(np.float32)
    return {"embeddings": x, "head_weight": rng.normal(size=(3, 5)), "head_bias": np.zeros(3)}, y


def rounds(n: int, **options: Any) -> list[pw.Selection]:
    arrays, y = pool()
    labeled, history = np.arange(10), []
    for number in range(n):
        got = pw.select(
            "albl", **arrays, labeled=labeled, labels=y[labeled], batch_size=8, seed=number, history=history,
            candidates=ARMS, **options,
        )  # fmt: skip
        history.append(got)
        labeled = np.sort(np.concatenate([labeled, got.indices]))
    return history


def test_probabilities_and_weights_stay_sound_for_1000_steps() -> None:
    rng = np.random.default_rng(0)
    weights = np.ones(5)
    for step in range(1, 1001):
        least = least_probability(5, step)
        p = probabilities(weights, least)
        assert p.sum() == pytest.approx(1) and p.min() >= least * (1 - 1e-9)
        arm = rng.choice(5, p=p / p.sum())
        weights = updated(weights, least, np.eye(5)[arm] / p[arm], 1 / p, step, 0.1)
        assert np.isfinite(weights).all() and (weights > 0).all()
    with pytest.raises(OptionError, match="smallest probability"):
        probabilities(weights, 0.3)


def test_weighted_accuracy_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(40) < 0.7
    law = rng.dirichlet(np.ones(40)) * 0.8 + 0.2 / 40
    draws = rng.choice(40, p=law, size=(5000, 6))
    found = np.array([weighted_accuracy(right[d], law[d], 40) for d in draws])
    assert abs(found.mean() - right.mean()) < 3 * found.std() / np.sqrt(5000)


@pytest.mark.parametrize("better", [True, False])
def test_a_better_expert_is_found_and_equal_ones_stay_equal(better: bool) -> None:
    rng = np.random.default_rng(0)
    weights, tail = np.ones(4), []
    for step in range(1, 1501):
        least = least_probability(4, 1500)
        p = probabilities(weights, least)
        arm = int(rng.choice(4, p=p / p.sum()))
        reward = float(rng.random() < (0.9 if better and arm == 2 else 0.2))
        gains = np.eye(4)[arm] * reward / p[arm]
        weights = updated(weights, least, gains, np.zeros(4) if not better else 1 / p, 1500, 0.1)
        if step > 750:
            tail.append(p)
    mean = np.mean(tail, axis=0)
    if better:
        assert mean[2] > 0.5
    else:
        assert np.abs(mean - 0.25).max() < 0.1


def test_probability_of_an_item_is_that_of_all_who_advise_it() -> None:
    streams = [np.array([7, 1, 2]), np.array([7, 3, 4]), np.array([5, 6, 8])]
    items, q, advised, bonus = draw_items(streams, np.array([0.5, 0.2, 0.3]), 3, np.random.default_rng(0))
    assert len(set(items.tolist())) == 3
    assert q[0] == pytest.approx(0.7 if items[0] == 7 else 0.3)
    assert advised[0] == (0b011 if items[0] == 7 else 0b100)
    assert (bonus >= 3).all()


def test_fresh_start_has_equal_weights_whatever_ran_before() -> None:
    rounds(4)
    first = rounds(1)[0]
    assert first.notes["weights"] == [1.0, 1.0, 1.0] and len(first.notes["trust"]) == 3


def test_weights_follow_from_history_alone() -> None:
    again = [rounds(4)[-1], rounds(4)[-1]]
    assert again[0].notes["weights"] == again[1].notes["weights"] != [1.0, 1.0, 1.0]
    assert again[0].indices.tolist() == again[1].indices.tolist()


def test_one_expert_per_batch_follows_the_published_formula() -> None:
    arrays, y = pool()
    history = rounds(2, per="batch")
    first, second = history
    labeled = np.sort(np.concatenate([np.arange(10), first.indices]))
    a = np.array([first.notes["probability"] if i in first.indices else 1.0 for i in labeled])
    right = (arrays["embeddings"] @ arrays["head_weight"].T).argmax(axis=1)[labeled] == y[labeled]
    reward = (right / a).mean()
    arm, least = first.notes["arm"], 1 / 30
    expected = np.ones(3)
    expected[arm] *= np.exp(least / 2 * (reward + np.sqrt(np.log(3 / 0.1) / 3) / first.notes["probability"]))
    np.testing.assert_allclose(second.notes["weights"], expected, rtol=1e-6)
    assert first.notes["probability"] == pytest.approx(1 / 3)
    np.testing.assert_allclose(batch_updated(np.ones(3), least, arm, reward, 1 / 3, 0.1), expected, rtol=1e-6)


def test_items_without_a_label_earn_nothing() -> None:
    arrays, y = pool()
    first = rounds(1)[0]
    got = pw.select(
        "albl", **arrays, labeled=np.arange(10), labels=y[:10], batch_size=8, history=[first], candidates=ARMS
    )
    assert "reward" not in got.notes
    audited = replace(first, components={k: np.full(8, np.nan) for k in first.components})
    labeled = np.sort(np.concatenate([np.arange(10), first.indices]))
    got = pw.select(
        "albl", **arrays, labeled=labeled, labels=y[labeled], batch_size=8, history=[audited], candidates=ARMS
    )
    assert np.isfinite(got.notes["weights"]).all()


def test_more_candidates_than_bits_are_refused() -> None:
    arrays, y = pool()
    with pytest.raises(OptionError, match="at most 52"):
        pw.select(
            "albl",
            **arrays,
            labeled=np.arange(10),
            labels=y[:10],
            batch_size=8,
            candidates=tuple(f"random{k}" for k in range(MOST_CANDIDATES + 1)),
        )
