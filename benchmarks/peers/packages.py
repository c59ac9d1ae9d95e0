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
    """A classifier whose predictions are already there, as modAL and small-text want one; asked for all rows."""

    def __init__(self, probs: FloatArray) -> None:
        self.probs = probs

    def predict_proba(self, rows: Any) -> FloatArray:
        if len(rows) != len(self.probs):
            raise ValueError(f"asked for {len(rows)} rows, expected all {len(self.probs)}")
        return self.probs


def baal(probs: FloatArray, method: str, count: int) -> Query:
    """Rank the pool with a heuristic of baal ("Margin" or "Entropy")."""
    from baal.active import heuristics

    heuristic = getattr(heuristics, method)()
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
    """Query with small-text's `BreakingTies`, `PredictionEntropy`, `LeastConfidence` or `RandomSampling`.

    The last draws from NumPy's global generator.
    """
    from small_text import query_strategies

    strategy = getattr(query_strategies, method)()
    everything, nothing = np.arange(len(probs)), np.empty(0, dtype=np.int64)
    classifier = GivenProbs(probs)
    return lambda: np.asarray(strategy.query(classifier, probs, everything, nothing, nothing, n=count))


def small_text_coreset(x: FloatArray, labeled: IndexArray, count: int) -> Query:
    """Query with small-text's `GreedyCoreset`."""
    from small_text import query_strategies

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strategy = query_strategies.GreedyCoreset(normalize=False)
    free, y = np.setdiff1d(np.arange(len(x)), labeled), np.zeros(len(labeled), dtype=np.int64)
    return lambda: np.asarray(strategy.query(None, x, free, labeled, y, n=count, embeddings=x))


def _activeml_classifier(probs: FloatArray) -> Any:
    from skactiveml.base import SkactivemlClassifier

    class Given(SkactivemlClassifier):  # type: ignore[misc]
        """Returns the predictions of the unlabeled rows, the only ones it is asked for."""

        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            return self

        def predict_proba(self, X: Any) -> FloatArray:
            if len(X) != len(probs):
                raise ValueError(f"asked for {len(X)} rows, expected the {len(probs)} unlabeled ones")
            return probs

    return Given(classes=np.arange(probs.shape[1]))


def _unknown(n_rows: int, labeled: IndexArray | None = None) -> FloatArray:
    """(n,) NaN where unlabeled; the classes play no part in what is called here."""
    y = np.full(n_rows, np.nan)
    if labeled is not None:
        y[labeled] = 0
    return y


def activeml_uncertainty(probs: FloatArray, method: str, count: int, seed: int = 0) -> Query:
    """Query with scikit-activeml's `UncertaintySampling` ("margin_sampling", "entropy", "least_confident")."""
    from skactiveml.pool import UncertaintySampling

    strategy = UncertaintySampling(method=method, random_state=seed)
    features, y, classifier = np.zeros((len(probs), 1)), _unknown(len(probs)), _activeml_classifier(probs)
    return lambda: np.asarray(strategy.query(features, y, classifier, fit_clf=False, batch_size=count))


def activeml_features(x: FloatArray, labeled: IndexArray, method: str, count: int, seed: int = 0) -> Query:
    """Query with what reads features and which rows are labeled: `CoreSet`, `TypiClust`, `RandomSampling`."""
    from skactiveml import pool

    strategy, y = getattr(pool, method)(random_state=seed), _unknown(len(x), labeled)
    return lambda: np.asarray(strategy.query(x, y, batch_size=count))


def activeml_badge(x: FloatArray, probs: FloatArray, count: int, seed: int = 0) -> Query:
    """Query with scikit-activeml's `Badge`; all rows are unlabeled."""
    from skactiveml.pool import Badge

    strategy, y, classifier = Badge(random_state=seed), _unknown(len(x)), _activeml_classifier(probs)
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
