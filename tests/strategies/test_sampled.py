"""Facts particular to the scores of sampled probabilities, each against a loop over rows, samples and classes."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

import poolwise as pw
from poolwise.kernels import samples

RNG = np.random.default_rng(0)
P = RNG.dirichlet(np.ones(5) * 0.4, size=(40, 7))  # (N, S, C)


def plain_entropy(p: list[float]) -> float:
    return -sum(v * math.log(v) for v in p if v > 0)


def slow(name: str, row: np.ndarray) -> float:
    """One row, as the definitions are written."""
    lists = row.tolist()
    mean = [sum(column) / len(lists) for column in zip(*lists, strict=True)]
    if name == "bald":
        return plain_entropy(mean) - sum(plain_entropy(p) for p in lists) / len(lists)
    if name == "mean_std":
        stds = [math.sqrt(sum((p[c] - m) ** 2 for p in lists) / len(lists)) for c, m in enumerate(mean)]
        return sum(stds) / len(stds)
    if name == "var_ratio":
        votes = Counter(p.index(max(p)) for p in lists)
        return 1 - votes.most_common(1)[0][1] / len(lists)
    if name == "entropy_sampled":
        return plain_entropy(mean)
    first, second = sorted(mean)[::-1][:2]
    return 1 - (first - second) if name == "margin_sampled" else 1 - first


NAMES = ["bald", "mean_std", "var_ratio", "entropy_sampled", "margin_sampled", "least_confidence_sampled"]


@pytest.mark.parametrize("name", NAMES)
def test_scores_equal_a_loop_over_rows(name: str) -> None:
    batch = pw.select(name, prob_samples=P, batch_size=40, stochastic="none")
    np.testing.assert_allclose(batch.scores, [slow(name, P[i]) for i in batch.indices], rtol=1e-5, atol=1e-7)
    assert (np.diff(batch.scores) <= 1e-9).all()


def test_equal_samples_tell_bald_nothing_and_disagreeing_ones_the_entropy_of_the_vote() -> None:
    equal = np.repeat(P[:, :1], 7, axis=1)
    np.testing.assert_allclose(samples.mutual_information(equal), 0, atol=1e-12)
    votes = np.eye(5)[[[0, 0, 1, 2]]]  # (1, 4, 5)
    assert samples.mutual_information(votes)[0] == pytest.approx(plain_entropy([0.5, 0.25, 0.25]))
    assert samples.variation_ratio(votes)[0] == pytest.approx(0.5)
    assert (samples.mutual_information(P) <= math.log(5)).all()


def test_bald_draws_power_batches_unless_told_otherwise() -> None:
    best = pw.select("bald", prob_samples=P, batch_size=8, stochastic="none").indices.tolist()
    assert pw.select("bald", prob_samples=P, batch_size=8).indices.tolist() != best
    assert pw.select("bald", prob_samples=P, batch_size=8, beta=1e6).indices.tolist() == best


def test_any_strategy_takes_the_mean_of_samples_for_its_probabilities() -> None:
    for name in ("entropy", "margin", "least_confidence"):
        a = pw.select(name, prob_samples=P, batch_size=10)
        b = pw.select(name, probs=P.mean(axis=1), batch_size=10)
        c = pw.select(f"{name}_sampled", prob_samples=P, batch_size=10)
        assert a.indices.tolist() == b.indices.tolist() == c.indices.tolist()
