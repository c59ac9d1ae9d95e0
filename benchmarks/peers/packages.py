"""Public packages, called through the query function that their users call, with the pool already in memory.

Every function imports its package when it is called, and returns what it chose as pool indices.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from poolwise.types import FloatArray, IndexArray

Query = Callable[[], IndexArray]

PIP_NAMES = {
    "skactiveml": "scikit-activeml",
    "modAL": "modAL-python",
    "small_text": "small-text",
    "baal": "baal",
    "apricot": "apricot-select",
    "submodlib": "submodlib-py",
    "faiss": "faiss-cpu",
    "sklearn": "scikit-learn",
}
"""Import name to the name that pip knows."""


class GivenProbs:
    """A classifier whose predictions are already there, as modAL and small-text want one."""

    def __init__(self, probs: FloatArray) -> None:
        self.probs = probs

    def predict_proba(self, _: Any) -> FloatArray:
        return self.probs


def baal(probs: FloatArray, method: str, count: int) -> Query:
    """Rank the pool with a heuristic of baal ("margin" or "entropy")."""
    from baal.active.heuristics import Entropy, Margin

    heuristic = {"margin": Margin, "entropy": Entropy}[method]()
    return lambda: np.asarray(heuristic(probs))[:count]


def modal(probs: FloatArray, method: str, count: int) -> Query:
    """Query with modAL's `margin_sampling`, `entropy_sampling` or `uncertainty_sampling`."""
    from modAL import uncertainty

    query = getattr(uncertainty, f"{method}_sampling")
    classifier = GivenProbs(probs)

    def run() -> IndexArray:
        answer = query(classifier, probs, n_instances=count)
        return np.asarray(answer[0] if isinstance(answer, tuple) else answer)

    return run


def small_text(probs: FloatArray, method: str, count: int) -> Query:
    """Query with small-text's `BreakingTies`, `PredictionEntropy` or `LeastConfidence`."""
    from small_text import query_strategies

    strategy = getattr(query_strategies, method)()
    everything = np.arange(len(probs))
    nothing = np.empty(0, dtype=np.int64)
    classifier = GivenProbs(probs)
    return lambda: np.asarray(strategy.query(classifier, probs, everything, nothing, nothing, n=count))


def small_text_coreset(x: FloatArray, n_labeled: int, count: int) -> Query:
    """Query with small-text's `GreedyCoreset`; the last `n_labeled` rows are labeled."""
    from small_text import query_strategies

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strategy = query_strategies.GreedyCoreset(normalize=False)
    free, labeled = np.arange(len(x) - n_labeled), np.arange(len(x) - n_labeled, len(x))
    y = np.zeros(n_labeled, dtype=np.int64)
    return lambda: np.asarray(strategy.query(None, x, free, labeled, y, n=count, embeddings=x))


def _activeml_classifier(probs: FloatArray) -> Any:
    from skactiveml.base import SkactivemlClassifier

    class Given(SkactivemlClassifier):  # type: ignore[misc]
        """The predictions of the unlabeled rows, which are the first ones."""

        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            return self

        def predict_proba(self, X: Any) -> FloatArray:
            return probs[: len(X)]

    return Given(classes=np.arange(probs.shape[1]))


def activeml_uncertainty(probs: FloatArray, method: str, count: int) -> Query:
    """Query with scikit-activeml's `UncertaintySampling` ("margin_sampling", "entropy", "least_confident")."""
    from skactiveml.pool import UncertaintySampling

    strategy = UncertaintySampling(method=method, random_state=0)
    features = np.zeros((len(probs), 1))
    y = np.full(len(probs), np.nan)
    classifier = _activeml_classifier(probs)
    return lambda: np.asarray(strategy.query(features, y, classifier, fit_clf=False, batch_size=count))


def activeml_coreset(x: FloatArray, n_labeled: int, count: int) -> Query:
    """Query with scikit-activeml's `CoreSet`; the last `n_labeled` rows are labeled."""
    from skactiveml.pool import CoreSet

    strategy = CoreSet(random_state=0)
    y = np.full(len(x), np.nan)
    y[len(x) - n_labeled :] = 0
    return lambda: np.asarray(strategy.query(x, y, batch_size=count))


def activeml_badge(x: FloatArray, probs: FloatArray, count: int) -> Query:
    """Query with scikit-activeml's `Badge`."""
    from skactiveml.pool import Badge

    strategy = Badge(random_state=0)
    y = np.full(len(x), np.nan)
    classifier = _activeml_classifier(probs)
    return lambda: np.asarray(strategy.query(x, y, classifier, fit_clf=False, batch_size=count))


def apricot(x: FloatArray, count: int) -> Query:
    """Select with apricot's lazy facility location over cosine similarities."""
    from apricot import FacilityLocationSelection

    return lambda: np.asarray(FacilityLocationSelection(count, metric="cosine", optimizer="lazy").fit(x).ranking)


def submodlib(x: FloatArray, count: int) -> Query:
    """Select with submodlib's lazy facility location over cosine similarities."""
    from submodlib import FacilityLocationFunction

    def run() -> IndexArray:
        with contextlib.redirect_stdout(io.StringIO()):
            function = FacilityLocationFunction(n=len(x), mode="dense", data=x, metric="cosine")
            picks = function.maximize(
                budget=count, optimizer="LazyGreedy", stopIfZeroGain=False, stopIfNegativeGain=False, verbose=False
            )
        return np.array([pick for pick, _ in picks])

    return run
