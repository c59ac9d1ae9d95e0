"""The model that is trained after every query, scored on the test part, and asked by compatible strategies.

Source: Lu, Li & Lin, arXiv 2306.08954: SVC with an RBF kernel, C = 1, gamma = 1/d, trained from scratch on the
labeled rows in increasing train position.

The support vector machine is trained by scikit-learn (results depend on the order of rows and on the last bit of
its kernel, so it is not replaced), but its decision values come from kernel matrices that are computed once a cell:
they equal `SVC.decision_function` to 1e-12 and cost one matrix-vector product instead of a new kernel each round.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from poolwise.bench.tabular.metrics import Scores, score_test
from poolwise.bench.tabular.protocol import Cell
from poolwise.errors import unknown_name
from poolwise.types import IndexArray

MAX_KERNEL_ROWS = 5000
"""Train parts above this keep no kernel matrices; the model computes its own decision values (slower)."""


class Fit(Protocol):
    """A model trained on some labeled rows of a cell."""

    def n_correct(self) -> int:
        """Count the test rows that the model classifies correctly."""
        ...

    def scores(self) -> Scores:
        """Score the model on the test rows."""
        ...

    def decision(self) -> NDArray[np.float64]:
        """Return decision values of all train rows: (n_train,) for two classes, else (n_train, C)."""
        ...


class SvmFit:
    """A two-class RBF support vector machine, read through the kernel matrices of its cell."""

    def __init__(self, kernels: Kernels, cell: Cell, model: Any, labeled: IndexArray) -> None:
        self._kernels = kernels
        self._cell = cell
        self._bias = float(model.intercept_[0])
        self._dual = np.zeros(len(cell.x_train))
        self._dual[labeled[model.support_]] = model.dual_coef_[0]

    def n_correct(self) -> int:
        return int(np.count_nonzero((self._test_values() >= 0) == (self._cell.y_test == 1)))

    def scores(self) -> Scores:
        values = self._test_values()
        return score_test(self._cell.y_test, (values >= 0).astype(np.int64), values, 2)

    def _test_values(self) -> NDArray[np.float64]:
        values: NDArray[np.float64] = self._kernels.test @ self._dual + self._bias  # (n_test,)
        return values

    def decision(self) -> NDArray[np.float64]:
        distinct = self._kernels.train @ self._dual  # equal rows get equal values, bit for bit: ties stay ties
        values: NDArray[np.float64] = distinct[self._kernels.row_of] + self._bias
        return values


class Kernels:
    """RBF kernel values of one cell, gamma = 1/d.

    test : (n_test, n_train)
    train : (n_distinct, n_train), one row for each distinct train row
    row_of : (n_train,) int64, the row of `train` that belongs to a train position
    """

    def __init__(self, cell: Cell) -> None:
        gamma = 1.0 / cell.x_train.shape[1]
        distinct, row_of = np.unique(cell.x_train, axis=0, return_inverse=True)
        self.row_of = row_of.reshape(-1)
        self.train = np.exp(-gamma * cdist(distinct, cell.x_train, "sqeuclidean"))
        self.test = np.exp(-gamma * cdist(cell.x_test, cell.x_train, "sqeuclidean"))


class EstimatorFit:
    """Any scikit-learn classifier; decision values are its own, or log probabilities where it has none."""

    def __init__(self, cell: Cell, model: Any) -> None:
        self._cell = cell
        self._model = model

    def n_correct(self) -> int:
        return int(np.count_nonzero(self._model.predict(self._cell.x_test) == self._cell.y_test))

    def scores(self) -> Scores:
        x = self._cell.x_test
        return score_test(self._cell.y_test, self._model.predict(x), self._values(x), self._cell.n_classes)

    def decision(self) -> NDArray[np.float64]:
        return self._values(self._cell.x_train)

    def _values(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        if hasattr(self._model, "decision_function"):
            return np.asarray(self._model.decision_function(x), dtype=np.float64)
        log_p: NDArray[np.float64] = np.log(np.maximum(self._model.predict_proba(x), 1e-300))  # (n, C)
        return log_p[:, 1] - log_p[:, 0] if log_p.shape[1] == 2 else log_p


MODELS: dict[str, Callable[[], Any]] = {
    "boosting": partial(HistGradientBoostingClassifier, max_iter=50, min_samples_leaf=5, random_state=0),
    "forest": partial(RandomForestClassifier, n_estimators=100, random_state=0),
    "linear-svm": partial(SVC, kernel="linear", C=1.0),
    "logistic": partial(LogisticRegression, C=1.0, max_iter=1000),
    "svm-rbf": partial(SVC, kernel="rbf", C=1.0, gamma="auto"),
}
"""Evaluation models by name; the published tables belong to "svm-rbf"."""


class Evaluator:
    """Trains the evaluation model of one cell; remembers what it has scored.

    Scores of labeled sets seen before (by any strategy of the cell) are not computed again, and the model
    trained last is kept, so that the strategy that asks it and the curve share one fit.
    """

    def __init__(self, cell: Cell, model: str = "svm-rbf") -> None:
        if model not in MODELS:
            raise unknown_name("evaluation model", model, MODELS)
        self.cell = cell
        self.model = model
        self._estimator = MODELS[model]()
        self._kernels: Kernels | None = None
        self._correct: dict[bytes, int] = {}
        self._scores: dict[bytes, Scores] = {}
        self._last: tuple[bytes, Fit] | None = None

    def n_correct(self, labeled: IndexArray) -> int:
        """Count correct test predictions of the model trained on `labeled`, sorted train positions."""
        key = labeled.tobytes()
        if key not in self._correct:
            self._correct[key] = self.fit(labeled).n_correct()
        return self._correct[key]

    def scores(self, labeled: IndexArray) -> Scores:
        """Score the model trained on `labeled`, sorted train positions."""
        key = labeled.tobytes()
        if key not in self._scores:
            self._scores[key] = self.fit(labeled).scores()
        return self._scores[key]

    def fit(self, labeled: IndexArray) -> Fit:
        """Train on `labeled`: (L,) int64 train positions, sorted, holding at least two classes."""
        key = labeled.tobytes()
        if self._last is None or self._last[0] != key:
            self._last = (key, self._train(labeled))
        return self._last[1]

    def _train(self, labeled: IndexArray) -> Fit:
        as_kernels = self.model == "svm-rbf" and self.cell.n_classes == 2 and len(self.cell.x_train) <= MAX_KERNEL_ROWS
        model = self._estimator if as_kernels else clone(self._estimator)  # an SvmFit keeps no model, so one is enough
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(self.cell.x_train[labeled], self.cell.y_train[labeled])
        if not as_kernels:
            return EstimatorFit(self.cell, model)
        if self._kernels is None:
            self._kernels = Kernels(self.cell)
        return SvmFit(self._kernels, self.cell, model, labeled)
