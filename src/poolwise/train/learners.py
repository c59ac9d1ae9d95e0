"""Learners: what turns labeled rows into a model, by one small protocol.

The linear probe is one; `SklearnLearner` makes one of any scikit-learn classifier with `fit` and
`predict_proba`; `NamedLearner` is one of four such classifiers by the name that suites write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from poolwise.errors import InputError, OptionError, unknown_name
from poolwise.train.linear_probe import LinearHead, ProbeSettings, check_rows, fit_linear
from poolwise.types import Array


class Model(Protocol):
    """What a learner returns. A linear one also has `head_weight` (C, D) and `head_bias` (C,)."""

    def probs(self, x: Array, /) -> NDArray[np.float32]:
        """Compute (n, C) class probabilities of (n, D) embeddings; C from the task, whatever was seen."""
        ...


class Learner(Protocol):
    """Fits a model to labeled rows."""

    def fit(self, x: Array, y: Array, n_classes: int, *, seed: int, start: Any = None) -> Model:
        """Fit (L, D) embeddings with (L,) classes below `n_classes`; `start` is this learner's last model or None."""
        ...


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """The calibrated linear probe as a learner."""

    settings: ProbeSettings = field(default_factory=ProbeSettings)

    def fit(self, x: Array, y: Array, n_classes: int, *, seed: int, start: Any = None) -> LinearHead:
        """Fit a head; see `fit_linear`."""
        warm = start if isinstance(start, LinearHead) else None
        return fit_linear(x, y, n_classes, settings=self.settings, seed=seed, start=warm)


@dataclass(frozen=True, slots=True)
class SklearnLearner:
    """Any scikit-learn classifier, or pipeline that ends in one, as a learner.

    estimator : unfitted, with `fit` and `predict_proba`; it is cloned for every fit, never changed.
        Every parameter called `random_state` gets the seed.
    """

    estimator: Any

    def __post_init__(self) -> None:
        for method in ("fit", "predict_proba", "get_params"):
            if not hasattr(self.estimator, method):
                raise OptionError(
                    f"{type(self.estimator).__name__} has no {method}; a learner needs fit and predict_proba. "
                    "For SVC pass probability=True, or wrap it in CalibratedClassifierCV."
                )

    def fit(self, x: Array, y: Array, n_classes: int, *, seed: int, start: Any = None) -> SklearnModel:
        """Fit a fresh clone. With one class only, that class gets probability 1 without a fit."""
        x, y = check_rows(x, y, n_classes)
        if len(np.unique(y)) == 1:
            return SklearnModel(None, y[:1], n_classes)
        estimator = clone(self.estimator)
        seeds = {key: seed for key in estimator.get_params() if key.split("__")[-1] == "random_state"}
        estimator.set_params(**{key: value % 2**32 for key, value in seeds.items()})
        estimator.fit(x, y)
        return SklearnModel(estimator, np.asarray(estimator.classes_, dtype=np.int64), n_classes)


@dataclass(frozen=True, slots=True)
class SklearnModel:
    """A fitted scikit-learn classifier whose columns are the classes of the task.

    estimator : fitted; None where only one class was seen
    classes : (P,) int64, the class of each column of `predict_proba`
    """

    estimator: Any
    classes: NDArray[np.int64]
    n_classes: int

    def probs(self, x: Array) -> NDArray[np.float32]:
        """Compute (n, C) probabilities; classes that were not seen have 0.

        Raises
        ------
        InputError
            If the classifier returns NaN.
        """
        out = np.zeros((len(x), self.n_classes), dtype=np.float32)
        out[:, self.classes] = 1.0 if self.estimator is None else self.estimator.predict_proba(x)
        if not np.isfinite(out).all():
            raise InputError(
                f"{type(self.estimator).__name__}.predict_proba returned NaN or inf; "
                "scale the features, or choose another classifier."
            )
        return out

    @property
    def head_weight(self) -> NDArray[np.float32] | None:
        """(C, D) weights if this is a multinomial logistic regression that saw every class; else None."""
        head = self._head()
        return None if head is None else head[0]

    @property
    def head_bias(self) -> NDArray[np.float32] | None:
        """(C,) biases that go with `head_weight`."""
        head = self._head()
        return None if head is None else head[1]

    def _head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        fitted = self.estimator
        if not isinstance(fitted, LogisticRegression) or len(self.classes) < self.n_classes:
            return None
        weight, bias = np.asarray(fitted.coef_), np.asarray(fitted.intercept_)
        if len(weight) == 1:  # two classes share one row: sigmoid(w) = softmax(-w / 2, w / 2)
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        return weight.astype(np.float32), bias.astype(np.float32)


class SvmRbf(BaseEstimator):  # type: ignore[misc]
    """Support vector machine with an RBF kernel, C = 1, gamma = 1 / (D var(x)).

    Its probabilities are the softmax of the decision values: they order rows by margin as the machine itself
    does, and are not calibrated. (Platt scaling needs rows that there are not in a first round.)
    """

    def fit(self, x: Array, y: Array) -> SvmRbf:
        """Fit the machine."""
        self.machine_ = SVC(kernel="rbf", C=1.0, gamma="scale", decision_function_shape="ovr").fit(x, y)
        self.classes_ = self.machine_.classes_
        return self

    def predict_proba(self, x: Array) -> Array:
        """Compute (n, P) probabilities; with two classes the decision value counts for one and against the other."""
        decision = np.asarray(self.machine_.decision_function(x), dtype=np.float64)
        values = np.column_stack([-decision, decision]) if decision.ndim == 1 else decision
        return np.asarray(softmax(values, axis=1))


class Neighbors(BaseEstimator):  # type: ignore[misc]
    """Vote of the five nearest labeled rows, of all where there are fewer."""

    def fit(self, x: Array, y: Array) -> Neighbors:
        """Store the rows."""
        self.voters_ = KNeighborsClassifier(n_neighbors=min(5, len(x))).fit(x, y)
        self.classes_ = self.voters_.classes_
        return self

    def predict_proba(self, x: Array) -> Array:
        """Compute the (n, P) shares of the votes."""
        return np.asarray(self.voters_.predict_proba(x))


NAMED: dict[str, Callable[[], Any]] = {
    "knn": Neighbors,
    "logistic": lambda: LogisticRegression(max_iter=5000),
    "random-forest": lambda: RandomForestClassifier(n_estimators=100, n_jobs=1),
    "svm-rbf": SvmRbf,
}
"""Classifiers that a suite may name; settings are those of scikit-learn but for what is written here."""


@dataclass(frozen=True, slots=True)
class NamedLearner:
    """A learner by its name in `NAMED`."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in NAMED:
            raise unknown_name("learner", self.name, [*NAMED, "linear-probe"])

    def fit(self, x: Array, y: Array, n_classes: int, *, seed: int, start: Any = None) -> SklearnModel:
        """Fit a fresh classifier; see `SklearnLearner.fit`."""
        return SklearnLearner(NAMED[self.name]()).fit(x, y, n_classes, seed=seed)
