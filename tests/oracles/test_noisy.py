"""Facts about the annotator that errs."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.errors import OptionError, ShapeError
from poolwise.oracles.noisy import flip_labels, noisy_answer


def test_share_of_wrong_answers_is_the_rate_and_wrong_classes_are_even():
    truth = np.arange(40_000) % 4
    got = flip_labels(truth, 4, 0.3, seed=0)
    assert (got != truth).mean() == pytest.approx(0.3, abs=0.01)
    wrong = got[(got != truth) & (truth == 1)]
    shares = np.bincount(wrong, minlength=4) / len(wrong)
    np.testing.assert_allclose(shares, [1 / 3, 0, 1 / 3, 1 / 3], atol=0.03)


def test_the_same_item_gets_the_same_answer_whatever_else_is_asked():
    truth = np.arange(100) % 3
    few = noisy_answer(truth, np.array([7, 50]), n_classes=3, rate=0.5, seed=1)
    many = noisy_answer(truth, np.arange(100), n_classes=3, rate=0.5, seed=1)
    assert few.tolist() == many[[7, 50]].tolist()
    assert many.tolist() != noisy_answer(truth, np.arange(100), n_classes=3, rate=0.5, seed=2).tolist()


def test_rate_0_is_always_right_and_rate_1_never():
    truth = np.arange(300) % 3
    assert (flip_labels(truth, 3, 0, seed=0) == truth).all()
    assert (flip_labels(truth, 3, 1, seed=0) != truth).all()


def test_confusion_decides_the_wrong_class():
    truth = np.arange(300) % 3
    next_class = np.roll(np.eye(3), 1, axis=1)
    assert (flip_labels(truth, 3, 1, seed=0, confusion=next_class) == (truth + 1) % 3).all()


def test_items_without_truth_keep_none():
    assert flip_labels(np.array([-1, -1]), 2, 1, seed=0).tolist() == [-1, -1]


def test_bad_settings_are_refused():
    with pytest.raises(OptionError, match="between 0 and 1"):
        flip_labels(np.zeros(3), 2, 1.5, seed=0)
    with pytest.raises(OptionError, match="2 classes"):
        flip_labels(np.zeros(3), 1, 0.5, seed=0)
    with pytest.raises(ShapeError, match="confusion"):
        flip_labels(np.zeros(3), 3, 0.5, seed=0, confusion=np.ones((2, 2)))
    with pytest.raises(OptionError, match="diagonal"):
        flip_labels(np.zeros(3), 2, 0.5, seed=0, confusion=np.eye(2))
