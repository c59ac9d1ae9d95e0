"""Random labeling beside the strategy: a real gap is seen, none is not, and the truth is covered."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.audit.counterfactual import (
    RandomModels,
    benefit,
    curve_sizes,
    labels_needed,
    random_models,
    unseen_share,
    widened,
)
from poolwise.train.learners import LinearProbe

N, SPLITS = 600, 10


def simulated(rng, a=0.9, b=1.5, c=0.5):
    """Models whose accuracy with n random labels is a - b n^-c; an item that is easy is easy for all."""
    sizes = curve_sizes(N)
    ease = rng.random(N)
    judged = np.zeros((SPLITS, N), dtype=np.float32)
    for j in range(SPLITS):
        judged[j, rng.permutation(N)[: N // 5]] = 1
    share = a - b * sizes.astype(float) ** -c
    right = (ease[None, :, None] + rng.normal(0, 0.02, (SPLITS, N, 1)) < share).astype(np.float32)
    return RandomModels(sizes, right * judged[:, :, None], judged), ease


def test_the_number_of_random_labels_is_covered_and_a_saving_is_seen():
    truth = 1500
    covered, above = 0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        random, ease = simulated(rng)
        now = (ease < 0.9 - 1.5 * truth**-0.5).astype(float)
        found, _ = labels_needed(random, now, 0.05, rng)
        covered += found.low <= truth <= found.high
        above += found.low > 480
    assert covered >= 18
    assert above >= 10  # such a gap beyond the largest random training set is often proved


def test_equal_models_show_no_benefit_and_better_ones_do():
    equal = better = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        random, ease = simulated(rng)
        level = 0.9 - 1.5 * random.sizes[-1] ** -0.5
        equal += benefit(random, (ease < level).astype(float), 0.05, rng).excludes(0)
        better += benefit(random, (ease < level + 0.1).astype(float), 0.05, rng).low > 0
    assert equal <= 2
    assert better == 10


def test_models_are_judged_on_items_they_did_not_see():
    """Labels without any relation to the features: a model that saw its judges would be right on them."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(120, 40)).astype(np.float32), rng.integers(0, 2, 120)
    found = random_models(x, y, 2, LinearProbe(), rng=rng, seed=0, sizes=curve_sizes(120), n_splits=8)
    assert found.judged.sum(axis=1).tolist() == [120 - 96] * 8
    shares = found.right.sum(axis=(0, 1)) / found.judged.sum()
    assert (np.abs(shares - 0.5) < 0.2).all()
    assert found.right[found.judged == 0].sum() == 0


def test_no_difference_of_two_shares_exceeds_one():
    for value in (-1.0, 1.0):
        found = widened(np.full(50, value), 0.05, 20)
        assert -1 <= found.low <= found.mean <= found.high <= 1
        assert found.high - found.low == pytest.approx(unseen_share(20, 0.05))


def test_what_was_not_seen_may_still_be():
    """No event in n trials is that likely at the bound: (1 - share)^n = alpha / 2."""
    assert (1 - unseen_share(50, 0.05)) ** 50 == pytest.approx(0.025)
