"""Facts about learning curves, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.errors import InputError, ShapeError
from poolwise.stats.curves import aubc, aubc_noinit, aubc_within, labels_to_target


def test_aubc_by_hand_with_unequal_steps():
    # 10..20: mean 0.5, 20..50: mean 0.7 -> (10 * 0.5 + 30 * 0.7) / 40
    assert aubc([10, 20, 50], [0.4, 0.6, 0.8]) == pytest.approx((10 * 0.5 + 30 * 0.7) / 40)


def test_a_shortened_last_step_does_not_bias_a_constant_curve():
    """The known slip: quota 1100 in batches of 250 reported 0.618 for a constant accuracy of 0.8."""
    assert aubc([0, 250, 500, 750, 1000, 1100], [0.8] * 6) == pytest.approx(0.8)


def test_noinit_variant_misses_the_first_interval():
    assert aubc_noinit(np.arange(20, 61), np.full(41, 0.9)) == pytest.approx(0.9 * 39 / 40)
    a = np.array([0.1, 0.5, 0.7, 0.9])
    assert aubc_noinit([0, 1, 2, 3], a) == pytest.approx((0.6 + 0.8) / 3)
    assert aubc_noinit([5], [0.3]) == 0


def test_a_single_point_is_its_own_average():
    assert aubc([7], [0.3]) == 0.3


def test_budget_inside_an_interval_is_interpolated():
    assert aubc_within([0, 10, 20], [0.0, 1.0, 1.0], 5) == pytest.approx(0.25)
    assert aubc_within([0, 10, 20], [0.0, 1.0, 1.0], 20) == pytest.approx(aubc([0, 10, 20], [0.0, 1.0, 1.0]))
    assert aubc_within([3, 10], [0.2, 0.4], 3) == pytest.approx(0.2)
    with pytest.raises(InputError, match="between 0 and 20"):
        aubc_within([0, 10, 20], [0.0, 1.0, 1.0], 21)


def test_labels_to_target_is_the_first_crossing():
    x, a = [100, 200, 300, 400], [0.5, 0.7, 0.6, 0.9]
    assert labels_to_target(x, a, 0.65) == pytest.approx(175)
    assert labels_to_target(x, a, 0.7) == 200
    assert labels_to_target(x, a, 0.4) == 100
    assert labels_to_target(x, a, 0.95) == float("inf")


def test_bad_curves_are_refused():
    with pytest.raises(InputError, match="increase"):
        aubc([1, 1], [0, 1])
    with pytest.raises(ShapeError, match="one value"):
        aubc([1, 2], [0.5])
    with pytest.raises(InputError, match="at least one point"):
        aubc([], [])
