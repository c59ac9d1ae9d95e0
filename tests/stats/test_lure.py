"""LURE: unbiased for any proposal, plain mean for uniform draws, sharper where losses are skewed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from poolwise.errors import InputError
from poolwise.stats.lure import lure_mean, lure_weights


def draw_without_replacement(score, m, rng):
    left = list(range(len(score)))
    picks, probabilities = [], []
    for _ in range(m):
        q = score[left] / score[left].sum()
        k = rng.choice(len(left), p=q)
        picks.append(left.pop(k))
        probabilities.append(q[k])
    return picks, probabilities


def test_exactly_unbiased_over_all_sequences_of_draws():
    """All ordered draws of 3 from 5 with their probabilities: the expectation is the mean loss."""
    loss = np.array([0.1, 3.0, 0.0, 1.0, 0.4])
    score = np.array([0.5, 2.0, 0.7, 1.0, 0.3])
    expected = 0.0
    for picks in itertools.permutations(range(5), 3):
        chance, q, left = 1.0, [], score.sum()
        for i in picks:
            q.append(score[i] / left)
            chance *= q[-1]
            left -= score[i]
        expected += chance * lure_mean(loss[list(picks)], q, 5)
    assert expected == pytest.approx(loss.mean(), rel=1e-12)


def test_uniform_draws_have_weight_one():
    assert lure_weights(1 / (100 - np.arange(30)), 100) == pytest.approx(np.ones(30))
    assert lure_weights(1 / (5 - np.arange(5)), 5) == pytest.approx(np.ones(5))


def test_a_good_proposal_has_less_variance_than_uniform_draws_on_skewed_losses():
    rng = np.random.default_rng(0)
    loss = rng.exponential(size=80) ** 3
    score = 0.9 * loss / loss.sum() + 0.1 / 80
    guided, uniform = [], []
    for _ in range(600):
        guided.append(lure_mean(loss[(d := draw_without_replacement(score, 15, rng))[0]], d[1], 80))
        uniform.append(loss[rng.permutation(80)[:15]].mean())
    assert abs(np.mean(guided) - loss.mean()) < 3 * np.std(guided) / np.sqrt(600)
    assert np.var(guided) < 0.5 * np.var(uniform)


@pytest.mark.parametrize("wrong", [([0.0], 5), ([1.1], 5), ([0.5] * 6, 5)])
def test_impossible_draws_are_refused(wrong):
    with pytest.raises(InputError):
        lure_weights(*wrong)
