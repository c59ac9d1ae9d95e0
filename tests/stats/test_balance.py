"""Facts about class balance, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.errors import InputError, ShapeError
from poolwise.stats.balance import (
    class_accuracy,
    class_counts,
    class_entropy,
    imbalance_ratio,
    mean_class_accuracy,
)


def test_entropy_by_hand():
    assert class_entropy([0, 1, 2, 3], 4) == pytest.approx(1)
    assert class_entropy([2, 2, 2], 4) == 0
    assert class_entropy([0, 0, 1, 1], 4) == pytest.approx(0.5)  # log 2 / log 4
    assert class_entropy([], 4) == 0
    assert class_entropy([0, 0], 1) == 1
    assert class_entropy([0, -1, 1, -1], 2) == pytest.approx(1)


def test_counts_and_imbalance():
    assert class_counts([0, 2, 2, -1], 4).tolist() == [1, 0, 2, 0]
    assert imbalance_ratio([0, 0, 0, 1], 2) == 3
    assert imbalance_ratio([0, 0, 0], 2) == 3
    with pytest.raises(InputError, match="below n_classes"):
        class_counts([4], 4)


def test_mean_class_accuracy_weighs_rare_classes_as_much_as_common_ones():
    truth = np.array([0] * 8 + [1] * 2)
    guess = np.zeros(10, dtype=int)
    assert mean_class_accuracy(truth, guess, 2) == pytest.approx(0.5)
    assert (truth == guess).mean() == 0.8


def test_classes_without_rows_do_not_count():
    each = class_accuracy([0, 0, 2], [0, 1, 2], 4)
    np.testing.assert_array_equal(each, [0.5, np.nan, 1.0, np.nan])
    assert mean_class_accuracy([0, 0, 2], [0, 1, 2], 4) == pytest.approx(0.75)
    assert np.isnan(mean_class_accuracy([], [], 4))
    with pytest.raises(ShapeError, match="one prediction"):
        class_accuracy([0, 1], [0], 2)
