"""Accuracy by group, by hand."""

from __future__ import annotations

import pytest

from poolwise.errors import InputError, ShapeError
from poolwise.stats.groups import group_accuracy


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
