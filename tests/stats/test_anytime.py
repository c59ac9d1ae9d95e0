"""Intervals over many looks: the error adds up to what was allowed, and each is exact."""

from __future__ import annotations

import math

import numpy as np
import pytest

from poolwise.errors import InputError
from poolwise.stats.anytime import alpha_at, share_interval


def binomial_tail(k, n, p):
    """P(X >= k) summed term by term."""
    return sum(math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1))


def test_the_error_of_all_looks_sums_to_what_is_allowed():
    total = sum(alpha_at(t, 0.95) for t in range(1, 100_000))
    assert 0.0499 < total < 0.05
    assert alpha_at(1, 0.95) > alpha_at(2, 0.95) > 0


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (50, 60), (60, 60), (199, 200)])
def test_the_bounds_are_where_the_binomial_tails_equal_half_the_error(right, n):
    found = share_interval(right, n, look=3)
    half = alpha_at(3) / 2
    if right:
        assert binomial_tail(right, n, found.low) == pytest.approx(half, rel=1e-6)
    else:
        assert found.low == 0
    if right < n:
        assert 1 - binomial_tail(right + 1, n, found.high) == pytest.approx(half, rel=1e-6)
    else:
        assert found.high == 1


def test_nothing_seen_says_nothing():
    found = share_interval(0, 0)
    assert (found.low, found.high) == (0, 1)
    assert math.isnan(found.mean)


def test_ten_looks_cost_little_more_than_the_best_even_split():
    """Ten equal parts of the error, known in advance to be ten, would give this width at the last look."""
    from scipy import stats

    even = stats.norm.isf(0.05 / 10 / 2)
    ours = stats.norm.isf(alpha_at(10) / 2)
    assert ours / even < 1.16


@pytest.mark.parametrize("wrong", [(3, 2, 1, 0.95), (-1, 2, 1, 0.95), (1, 2, 0, 0.95), (1, 2, 1, 1.0)])
def test_impossible_numbers_are_refused(wrong):
    right, n, look, level = wrong
    with pytest.raises(InputError):
        share_interval(right, n, look=look, level=level)


def test_misses_of_whole_runs_stay_below_the_allowed_error():
    rng = np.random.default_rng(0)
    shares = [0.6, 0.8, 0.85, 0.9, 0.97, 0.99]  # the model gets better from look to look
    missed = 0
    for _ in range(600):
        luck = rng.random(300)
        hits = []
        for t, share in enumerate(shares, start=1):
            n = 50 * t
            found = share_interval(int((luck[:n] < share).sum()), n, look=t)
            hits.append(found.low <= share <= found.high)
        missed += not all(hits)
    assert missed / 600 <= 0.05
