"""Strategies of public packages as strategies of a suite: `peer:PACKAGE.NAME`.

A suite names them after `modules = ["benchmarks.peers.strategies"]`. They get what ours get: the same embeddings, the
same probabilities of the same probe, the same labeled items; so the difference that is left is the choice of the batch.
The packages come with the extra `bench`; each is imported when its strategy is first asked.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np

from poolwise.errors import MissingExtraError
from poolwise.kernels.blocks import load_rows
from poolwise.registry import strategy
from poolwise.types import Array, FloatArray, IndexArray, Rows

TWINS = {
    "peer:baal.entropy": "entropy",
    "peer:baal.margin": "margin",
    "peer:modal.entropy": "entropy",
    "peer:modal.margin": "margin",
    "peer:modal.uncertainty": "least_confidence",
    "peer:skactiveml.badge": "badge",
    "peer:skactiveml.coreset": "coreset",
    "peer:skactiveml.entropy": "entropy",
    "peer:skactiveml.least_confident": "least_confidence",
    "peer:skactiveml.margin": "margin",
    "peer:skactiveml.random": "random",
    "peer:skactiveml.typiclust": "typiclust",
    "peer:small_text.breaking_ties": "margin",
    "peer:small_text.coreset": "coreset",
    "peer:small_text.least_confidence": "least_confidence",
    "peer:small_text.prediction_entropy": "entropy",
    "peer:small_text.random": "random",
}
"""Each strategy here, and ours of the same method."""


def load(module: str) -> Any:
    """Import a module of a package, quietly.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"strategies of {module.partition('.')[0]} need packages that are not installed ({error}); "
            "type: pip install 'poolwise[bench]'"
        ) from error


class Known:
    """A classifier whose predictions are already there; its rows are numbered, so it may be asked for any of them."""

    def __init__(self, probs: FloatArray) -> None:
        self.probs = probs

    def predict_proba(self, rows: Any) -> FloatArray:
        return self.probs[np.asarray(rows).ravel().astype(np.int64)]


def _numbers(n_rows: int) -> Array:
    """(n, 1) the number of each row, as features for `Known`."""
    return np.arange(n_rows, dtype=np.float64)[:, None]


def _chosen(unlabeled: IndexArray, positions: Any) -> IndexArray:
    return unlabeled[np.asarray(positions).astype(np.int64)]


def _modal(name: str, method: str) -> None:
    @strategy(name, family="peer", paper="modAL")
    def peer(probs: Rows, unlabeled: IndexArray, *, batch_size: int) -> IndexArray:
        """Query with a function of `modAL.uncertainty`."""
        p = load_rows(probs, unlabeled)
        query = getattr(load("modAL.uncertainty"), f"{method}_sampling")
        answer = query(Known(p), _numbers(len(p)), n_instances=batch_size)
        return _chosen(unlabeled, answer[0] if isinstance(answer, tuple) else answer)


def _baal(name: str, method: str) -> None:
    @strategy(name, family="peer", paper="baal")
    def peer(probs: Rows, unlabeled: IndexArray, *, batch_size: int) -> IndexArray:
        """Rank the pool with a heuristic of baal."""
        heuristic = getattr(load("baal.active.heuristics"), method)()
        return _chosen(unlabeled, np.asarray(heuristic(load_rows(probs, unlabeled)))[:batch_size])


def _small_text(name: str, method: str) -> None:
    @strategy(name, family="peer", paper="small-text")
    def peer(
        probs: Rows, labeled: IndexArray, unlabeled: IndexArray, *, batch_size: int, rng: np.random.Generator
    ) -> IndexArray:
        """Query with a strategy of small-text that reads probabilities, or nothing."""
        p = load_rows(probs, np.arange(len(probs)))
        np.random.seed(rng.integers(2**32))  # noqa: NPY002  (the package draws from NumPy's global generator)
        query = getattr(load("small_text.query_strategies"), method)()
        y = np.zeros(len(labeled), dtype=np.int64)
        return np.asarray(query.query(Known(p), _numbers(len(p)), unlabeled, labeled, y, n=batch_size), dtype=np.int64)


@strategy("peer:small_text.coreset", family="peer", paper="small-text")
def small_text_coreset(embeddings: Rows, labeled: IndexArray, unlabeled: IndexArray, *, batch_size: int) -> IndexArray:
    """Query with `GreedyCoreset` on the embeddings as they are."""
    x = load_rows(embeddings, np.arange(len(embeddings)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        query = load("small_text.query_strategies").GreedyCoreset(normalize=False)
    y = np.zeros(len(labeled), dtype=np.int64)
    return np.asarray(query.query(None, x, unlabeled, labeled, y, n=batch_size, embeddings=x), dtype=np.int64)


def _labels(n_items: int, labeled: IndexArray) -> Array:
    """(N,) NaN where unlabeled; the classes play no part in what is called here."""
    y = np.full(n_items, np.nan)
    y[labeled] = 0
    return y


def _activeml_classifier(probs: FloatArray) -> Any:
    base = load("skactiveml.base").SkactivemlClassifier

    class Given(base):  # type: ignore[misc, valid-type]
        """Returns the predictions of the unlabeled rows, the only ones it is asked for."""

        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            return self

        def predict_proba(self, X: Any) -> FloatArray:
            if len(X) != len(probs):
                raise ValueError(f"asked for {len(X)} rows, expected the {len(probs)} unlabeled ones")
            return probs

    return Given(classes=np.arange(probs.shape[1]))


def _state(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _activeml_uncertainty(name: str, method: str) -> None:
    @strategy(name, family="peer", paper="scikit-activeml")
    def peer(probs: Rows, unlabeled: IndexArray, *, batch_size: int, rng: np.random.Generator) -> IndexArray:
        """Query with `UncertaintySampling`."""
        p = load_rows(probs, unlabeled)
        query = load("skactiveml.pool").UncertaintySampling(method=method, random_state=_state(rng))
        y = np.full(len(p), np.nan)
        clf = _activeml_classifier(p)
        return _chosen(unlabeled, query.query(_numbers(len(p)), y, clf, fit_clf=False, batch_size=batch_size))


def _activeml_features(name: str, method: str) -> None:
    @strategy(name, family="peer", paper="scikit-activeml")
    def peer(
        embeddings: Rows, labeled: IndexArray, unlabeled: IndexArray, *, batch_size: int, rng: np.random.Generator
    ) -> IndexArray:
        """Query with a strategy that reads features and which items are labeled."""
        x = load_rows(embeddings, np.arange(len(embeddings)))
        query = getattr(load("skactiveml.pool"), method)(random_state=_state(rng))
        return np.asarray(query.query(x, _labels(len(x), labeled), batch_size=batch_size), dtype=np.int64)


@strategy("peer:skactiveml.badge", family="peer", paper="scikit-activeml")
def activeml_badge(
    embeddings: Rows, probs: Rows, unlabeled: IndexArray, *, batch_size: int, rng: np.random.Generator
) -> IndexArray:
    """Query with `Badge`."""
    x, p = load_rows(embeddings, unlabeled), load_rows(probs, unlabeled)
    query = load("skactiveml.pool").Badge(random_state=_state(rng))
    clf = _activeml_classifier(p)
    return _chosen(unlabeled, query.query(x, np.full(len(x), np.nan), clf, fit_clf=False, batch_size=batch_size))


_baal("peer:baal.entropy", "Entropy")
_baal("peer:baal.margin", "Margin")
for _name in ("entropy", "margin", "uncertainty"):
    _modal(f"peer:modal.{_name}", _name)
_small_text("peer:small_text.breaking_ties", "BreakingTies")
_small_text("peer:small_text.least_confidence", "LeastConfidence")
_small_text("peer:small_text.prediction_entropy", "PredictionEntropy")
_small_text("peer:small_text.random", "RandomSampling")
_activeml_uncertainty("peer:skactiveml.entropy", "entropy")
_activeml_uncertainty("peer:skactiveml.least_confident", "least_confident")
_activeml_uncertainty("peer:skactiveml.margin", "margin_sampling")
_activeml_features("peer:skactiveml.coreset", "CoreSet")
_activeml_features("peer:skactiveml.random", "RandomSampling")
_activeml_features("peer:skactiveml.typiclust", "TypiClust")
