"""Facts about intervals: known values, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.errors import InputError, ShapeError
from poolwise.stats.intervals import bootstrap_interval, t_interval


def test_t_interval_by_hand():
    # n = 5, mean 3, sd sqrt(2.5), t(0.975, 4) = 2.776445 (any table)
    got = t_interval([1, 2, 3, 4, 5])
    half = 2.776445 * np.sqrt(2.5 / 5)
    assert (got.mean, got.low, got.high) == pytest.approx((3, 3 - half, 3 + half), rel=1e-6)
    assert got.excludes(0)
    assert not got.excludes(3.5)


def test_t_interval_covers_the_mean_of_normal_differences_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [t_interval(rng.normal(size=10)) for _ in range(4000)]
    share = np.mean([i.low <= 0 <= i.high for i in found])
    assert abs(share - 0.95) < 3.5 * np.sqrt(0.95 * 0.05 / 4000)


def test_bootstrap_interval_covers_the_mean_of_skewed_values_nearly_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [bootstrap_interval(rng.exponential(size=40) - 1, rng=rng, n_draws=400) for _ in range(600)]
    share = np.mean([i.low <= 0 <= i.high for i in found])
    assert 0.90 < share < 0.975
    above = np.mean([i.low > 0 for i in found])
    below = np.mean([i.high < 0 for i in found])
    assert above < 0.06  # a plain t interval misses nearly always on one side here
    assert below < 0.08


def test_bootstrap_and_t_agree_on_many_normal_values():
    x = np.random.default_rng(1).normal(size=400)
    a, b = t_interval(x), bootstrap_interval(x, rng=np.random.default_rng(0))
    assert (b.low, b.high) == pytest.approx((a.low, a.high), abs=0.01)


def test_one_value_says_nothing_about_spread():
    for got in (t_interval([0.3]), bootstrap_interval([0.3], rng=np.random.default_rng(0))):
        assert (got.mean, got.low, got.high) == (0.3, -np.inf, np.inf)


def test_equal_values_give_a_point():
    for got in (t_interval([0.3] * 4), bootstrap_interval([0.3] * 4, rng=np.random.default_rng(0))):
        assert got.low == got.high == pytest.approx(0.3)


def test_bad_values_are_refused():
    with pytest.raises(InputError, match="finite"):
        t_interval([1, np.nan])
    with pytest.raises(InputError, match="at least one"):
        t_interval([])
    with pytest.raises(ShapeError):
        t_interval([[1, 2]])
    with pytest.raises(InputError, match="level"):
        t_interval([1, 2], level=95)
