"""The evaluation model read through kernel matrices is the model of scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.svm import SVC

from poolwise.bench.tabular.evaluate import MODELS, Evaluator
from poolwise.bench.tabular.loader import load_set
from poolwise.bench.tabular.protocol import make_cell
from poolwise.errors import UnknownNameError

from .conftest import blobs, cell_of


@pytest.mark.parametrize("name", ["appendicitis", "sonar", "haberman"])
@pytest.mark.parametrize("n_labeled", [20, 50])
def test_decisions_and_predictions_equal_those_of_scikit_learn(tabular_dir: Path, name: str, n_labeled: int) -> None:
    cell = make_cell(load_set(name, tabular_dir), 1)
    labeled = np.arange(n_labeled)
    model = SVC(kernel="rbf", C=1.0, gamma=1 / cell.x_train.shape[1]).fit(cell.x_train[labeled], cell.y_train[labeled])
    fit = Evaluator(cell).fit(labeled)
    assert np.abs(fit.decision() - model.decision_function(cell.x_train)).max() < 1e-12
    assert fit.n_correct() == round(model.score(cell.x_test, cell.y_test) * len(cell.y_test))


def test_equal_rows_get_equal_decisions_bit_for_bit() -> None:
    data = blobs(120, 3)
    data.x[1::2] = data.x[::2]
    cell = cell_of(data)
    decision = Evaluator(cell).fit(np.arange(20)).decision()
    _, row_of = np.unique(cell.x_train, axis=0, return_inverse=True)
    for row in np.unique(row_of):
        assert len(np.unique(decision[row_of == row])) == 1


def test_large_train_parts_without_kernel_matrices_score_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = cell_of(blobs(120, 3))
    small = Evaluator(cell).fit(np.arange(40))
    monkeypatch.setattr("poolwise.bench.tabular.evaluate.MAX_KERNEL_ROWS", 10)
    large = Evaluator(cell).fit(np.arange(40))
    assert type(small) is not type(large)
    assert np.abs(small.decision() - large.decision()).max() < 1e-12
    assert small.n_correct() == large.n_correct()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_gives_decisions_for_all_train_rows(model: str, n_classes: int) -> None:
    cell = cell_of(blobs(60, 3, n_classes))
    fit = Evaluator(cell, model).fit(np.arange(30))
    assert fit.decision().shape == ((36,) if n_classes == 2 else (36, 3))
    assert 0 <= fit.n_correct() <= 24


def test_a_labeled_set_is_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = Evaluator(cell_of(blobs()))
    first = evaluator.n_correct(np.arange(20))
    evaluator.n_correct(np.arange(21))
    monkeypatch.setattr(evaluator, "fit", None)
    assert evaluator.n_correct(np.arange(20)) == first


def test_unknown_models_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="svm-rbf"):
        Evaluator(cell_of(blobs()), "svm")
