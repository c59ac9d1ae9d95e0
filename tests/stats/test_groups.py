"""Accuracy by group, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from poolwise.errors import InputError, ShapeError
from poolwise.stats.groups import group_accuracy, group_intervals


def test_four_groups_by_hand() -> None:
    truth = [0, 0, 0, 0, 1, 1, 1, 1, 1]
    guess = [0, 0, 0, 1, 1, 0, 0, 1, 1]
    place = ["land", "land", "land", "water", "land", "land", "land", "water", "water"]
    found = group_accuracy(truth, guess, [f"{y} {p}" for y, p in zip(truth, place, strict=True)])
    assert found.names == ("0 land", "0 water", "1 land", "1 water")
    assert found.accuracies == pytest.approx((1, 0, 1 / 3, 1))
    assert found.counts == (3, 1, 3, 2)
    assert (found.mean, found.worst, found.worst_group) == (pytest.approx(7 / 12), 0, "0 water")


def test_numbers_may_name_groups_and_equal_groups_give_the_first() -> None:
    found = group_accuracy([1, 1], [1, 1], [7, 3])
    assert (found.names, found.worst, found.worst_group) == ((3, 7), 1, 3)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="one each"):
        group_accuracy([1, 1], [1, 1], [0])
    with pytest.raises(InputError, match="got none"):
        group_accuracy([], [], [])


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X >= k) summed term by term."""
    return sum(math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1))


def test_each_of_four_groups_gets_a_quarter_of_the_error_of_the_look() -> None:
    right = [1] * 7 + [0] * 3 + [1] * 20 + [0] * 30 + [0] * 4 + [1]
    places = ["a"] * 10 + ["b"] * 50 + ["c"] * 4 + ["d"]
    found = group_accuracy(np.ones(len(right)), right, places)
    half = (0.05 * (10 / 11 - 10 / 12)) / 4 / 2  # look 2: t / (t + 10) of the error is spent after t looks
    for interval, hits, n in zip(group_intervals(found, look=2), (7, 20, 0, 1), (10, 50, 4, 1), strict=True):
        assert (interval.n, interval.mean, interval.level) == (n, hits / n, 0.95)
        if hits:
            assert binomial_tail(hits, n, interval.low) == pytest.approx(half, rel=1e-6)
        if hits < n:
            assert 1 - binomial_tail(hits + 1, n, interval.high) == pytest.approx(half, rel=1e-6)


def test_one_group_is_bounded_as_the_whole() -> None:
    found = group_accuracy([1] * 9, [1] * 8 + [0], ["x"] * 9)
    (interval,) = group_intervals(found, level=0.95)
    half = 0.05 / 11 / 2
    assert binomial_tail(8, 9, interval.low) == pytest.approx(half, rel=1e-6)


def test_in_nineteen_of_twenty_samples_no_group_lies_outside_at_any_of_three_looks() -> None:
    rng = np.random.default_rng(5)
    truth = np.array([0.5, 0.7, 0.8, 0.9, 0.95])
    missed = 0
    for _ in range(120):
        places = rng.integers(5, size=90)
        right = rng.random(90) < truth[places]
        outside = False
        for look, n in enumerate((30, 60, 90), start=1):
            found = group_accuracy(np.ones(n), right[:n], places[:n])
            bounds = group_intervals(found, look=look)
            outside |= any(b.excludes(truth[name]) for name, b in zip(found.names, bounds, strict=True))
        missed += outside
    assert missed <= 6  # exact intervals err on the safe side
