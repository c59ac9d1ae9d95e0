"""Facts about random batches, prices and limits."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.errors import OptionError
from poolwise.kernels.batches import from_zero, gumbel, perturbed, within_limit

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("kind", "law"), [("power", [3.0, 1.0]), ("softmax", np.exp([3.0, 1.0])), ("softrank", [1.0, 0.5])]
)
def test_the_first_of_two_comes_first_as_often_as_its_weight_says(kind: str, law: list[float]) -> None:
    two = np.arange(2)
    first = [perturbed(np.array([3.0, 1.0]), kind, 1.0, two, np.random.default_rng(s)).argmax() for s in range(4000)]
    share = law[0] / (law[0] + law[1])
    assert np.mean(np.array(first) == 0) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 4000))


@pytest.mark.parametrize("kind", ["power", "softmax", "softrank"])
def test_a_large_beta_gives_the_plain_order(kind: str) -> None:
    scores, indices = RNG.random(50), np.arange(50)
    keys = perturbed(scores, kind, 1e7, indices, np.random.default_rng(1))
    assert np.argsort(-keys).tolist() == np.argsort(-scores).tolist()


def test_the_noise_of_an_item_depends_on_its_index_only() -> None:
    whole = gumbel(np.arange(30), np.random.default_rng(3))
    part = gumbel(np.array([4, 9, 21]), np.random.default_rng(3))
    assert part.tolist() == whole[[4, 9, 21]].tolist()


def test_scores_of_zero_come_last_and_negative_ones_are_moved() -> None:
    scores = np.array([0.0, 2.0, 0.0, 1.0])
    for seed in range(20):
        keys = perturbed(scores, "power", 1.0, np.arange(4), np.random.default_rng(seed))
        assert set(np.argsort(-keys)[:2]) == {1, 3}
    assert from_zero(np.array([-3.0, -1.0])).tolist() == [0, 2]
    assert from_zero(np.array([0.5, np.inf])).tolist() == [0.5, np.inf]


def test_beta_must_be_positive() -> None:
    for beta in (0.0, -1.0, np.nan):
        with pytest.raises(OptionError, match="beta must be above 0"):
            perturbed(np.ones(2), "power", beta, np.arange(2), RNG)


def test_limit_keeps_the_first_of_each_group_as_a_loop_does() -> None:
    groups = RNG.integers(0, 6, 80)
    for limit in (1, 3, 100):
        kept, count = [], dict.fromkeys(range(6), 0)
        for position, group in enumerate(groups.tolist()):
            if count[group] < limit:
                kept.append(position)
                count[group] += 1
        assert within_limit(groups, limit).tolist() == kept
    assert within_limit(np.empty(0, dtype=np.int64), 2).tolist() == []
