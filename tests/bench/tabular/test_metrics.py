"""F1 and the two ROC areas agree with scikit-learn where it defines them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from poolwise.bench.tabular.metrics import score_test


@pytest.mark.parametrize("seed", range(5))
def test_two_classes_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, values = rng.integers(2, size=60), rng.normal(size=60).round(1)  # rounded: ties
    predicted = (values >= 0.3).astype(np.int64)
    got = score_test(y, predicted, values, 2)
    assert got.n_correct == (y == predicted).sum()
    assert got.f1 == pytest.approx(f1_score(y, predicted))
    assert got.auc_hard == pytest.approx(balanced_accuracy_score(y, predicted))
    assert got.auc_hard == pytest.approx(roc_auc_score(y, predicted))
    assert got.auc == pytest.approx(roc_auc_score(y, values))


@pytest.mark.parametrize("seed", range(5))
def test_more_classes_are_means_of_one_against_the_rest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, values = rng.integers(4, size=60), rng.normal(size=(60, 4)).round(1)
    predicted = values.argmax(axis=1)
    got = score_test(y, predicted, values, 4)
    assert got.f1 == pytest.approx(f1_score(y, predicted, average="macro"))
    hard, soft = (
        np.mean([roc_auc_score(y == c, column) for c, column in enumerate(np.asarray(columns).T)])
        for columns in (predicted[:, None] == np.arange(4), values)
    )
    assert got.auc_hard == pytest.approx(hard)
    assert got.auc == pytest.approx(soft)


def test_classes_that_the_test_part_lacks_are_left_out() -> None:
    y, values = np.array([0, 0, 1, 1]), np.array([[3.0, 1, 2], [2, 3, 1], [1, 3, 2], [1, 2, 0]])
    got = score_test(y, values.argmax(axis=1), values, 3)
    assert got.f1 == pytest.approx((2 / 3 + 4 / 5) / 2)  # class 2 is neither there nor predicted
    assert got.auc_hard == pytest.approx(0.75)
    assert got.auc == pytest.approx((1.0 + 0.625) / 2)


def test_one_class_alone_has_no_area() -> None:
    got = score_test(np.ones(3, dtype=np.int64), np.array([1, 1, 0]), np.array([1.0, 2.0, -1.0]), 2)
    assert (got.n_correct, got.f1, got.auc_hard, got.auc) == (2, pytest.approx(0.8), 0.5, 0.5)
