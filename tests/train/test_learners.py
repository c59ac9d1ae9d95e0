"""Facts about learners: columns are the classes of the task, whatever the classifier saw."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from poolwise.errors import InputError, OptionError
from poolwise.train.learners import LinearProbe, SklearnLearner


def rows(n_classes=3, n_rows=60):
    rng = np.random.default_rng(0)
    y = np.arange(n_rows) % n_classes
    return rng.normal(size=(n_rows, 4)) + 2 * y[:, None], y


@pytest.mark.parametrize(
    "learner", [LinearProbe(), SklearnLearner(GaussianNB()), SklearnLearner(RandomForestClassifier(10))]
)
def test_columns_are_the_classes_of_the_task(learner):
    x, y = rows()
    probs = learner.fit(x, 2 * y + 1, 8, seed=0).probs(x)
    assert probs.shape == (60, 8)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert set(probs.argmax(axis=1)) <= {1, 3, 5}
    assert (probs.argmax(axis=1) == 2 * y + 1).mean() > 0.8


def test_the_seed_reaches_every_random_state_and_the_estimator_is_not_changed():
    x, y = rows()
    forest = RandomForestClassifier(3)
    learner = SklearnLearner(make_pipeline(StandardScaler(), forest))
    first, again, other = (learner.fit(x, y, 3, seed=seed).probs(x) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert forest.random_state is None


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_regression_gives_its_head(n_classes):
    x, y = rows(n_classes)
    model = SklearnLearner(LogisticRegression()).fit(x, y, n_classes, seed=0)
    np.testing.assert_allclose(softmax(x @ model.head_weight.T + model.head_bias, axis=1), model.probs(x), atol=1e-5)


def test_other_classifiers_have_no_head():
    x, y = rows()
    assert SklearnLearner(GaussianNB()).fit(x, y, 3, seed=0).head_weight is None


def test_one_class_needs_no_fit():
    x, y = rows()
    model = SklearnLearner(LogisticRegression()).fit(x, np.full_like(y, 2), 4, seed=0)
    assert model.probs(x)[:, 2].min() == 1
    assert model.head_bias is None


def test_a_classifier_without_probabilities_is_refused():
    with pytest.raises(OptionError, match="predict_proba"):
        SklearnLearner(Perceptron())


def test_no_rows_are_refused():
    with pytest.raises(InputError, match="at least one"):
        SklearnLearner(GaussianNB()).fit(np.empty((0, 3)), np.empty(0, dtype=int), 2, seed=0)
