"""Strategies of public packages as strategies of a suite: `peer:PACKAGE.NAME`.

A suite names them after `modules = ["benchmarks.peers.strategies"]`. They get what ours get: the same embeddings, the
same probabilities of the same probe, the same labeled items; so the difference that is left is the choice of the batch.
The packages come with the extra `bench`; each is imported when its strategy is first asked.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import packages
from poolwise.errors import MissingExtraError
from poolwise.kernels.blocks import load_rows
from poolwise.registry import strategy
from poolwise.types import IndexArray, Rows

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


def ask(door: Callable[..., packages.Query], *arguments: Any) -> IndexArray:
    """Query a package through a function of `packages`, quietly: positions as int64.

    Raises
    ------
    MissingExtraError
        If the package is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            query = door(*arguments)
    except ImportError as error:
        raise MissingExtraError(
            f"strategies of public packages need packages that are not installed ({error}); "
            "type: pip install 'poolwise[bench]'"
        ) from error
    return np.asarray(query()).astype(np.int64)


def _by_probs(name: str, package: str, door: Callable[..., packages.Query], method: str) -> None:
    """Register what reads the probabilities of the unlabeled items."""

    @strategy(name, family="peer", paper=package)
    def peer(probs: Rows, unlabeled: IndexArray, *, batch_size: int, rng: np.random.Generator) -> IndexArray:
        """Query a public package by probabilities."""
        np.random.seed(rng.integers(2**32))  # noqa: NPY002  (small-text draws from NumPy's global generator)
        return unlabeled[ask(door, load_rows(probs, unlabeled), method, batch_size)]


def _by_features(name: str, method: str) -> None:
    @strategy(name, family="peer", paper="scikit-activeml")
    def peer(embeddings: Rows, labeled: IndexArray, *, batch_size: int, rng: np.random.Generator) -> IndexArray:
        """Query scikit-activeml by features and by which items are labeled."""
        x = load_rows(embeddings, np.arange(len(embeddings)))
        return ask(packages.activeml_features, x, labeled, method, batch_size, _seed(rng))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


@strategy("peer:small_text.coreset", family="peer", paper="small-text")
def small_text_coreset(embeddings: Rows, labeled: IndexArray, *, batch_size: int) -> IndexArray:
    """Query with `GreedyCoreset` on the embeddings as they are."""
    x = load_rows(embeddings, np.arange(len(embeddings)))
    return ask(packages.small_text_coreset, x, labeled, batch_size)


@strategy("peer:skactiveml.badge", family="peer", paper="scikit-activeml")
def activeml_badge(
    embeddings: Rows, probs: Rows, unlabeled: IndexArray, *, batch_size: int, rng: np.random.Generator
) -> IndexArray:
    """Query with `Badge`."""
    x, p = load_rows(embeddings, unlabeled), load_rows(probs, unlabeled)
    return unlabeled[ask(packages.activeml_badge, x, p, batch_size, _seed(rng))]


def _activeml_uncertainty(name: str, method: str) -> None:
    @strategy(name, family="peer", paper="scikit-activeml")
    def peer(probs: Rows, unlabeled: IndexArray, *, batch_size: int, rng: np.random.Generator) -> IndexArray:
        """Query with `UncertaintySampling`."""
        p = load_rows(probs, unlabeled)
        return unlabeled[ask(packages.activeml_uncertainty, p, method, batch_size, _seed(rng))]


for _name, _method in (("entropy", "Entropy"), ("margin", "Margin")):
    _by_probs(f"peer:baal.{_name}", "baal", packages.baal, _method)
for _name in ("entropy", "margin", "uncertainty"):
    _by_probs(f"peer:modal.{_name}", "modAL", packages.modal, _name)
_by_probs("peer:small_text.breaking_ties", "small-text", packages.small_text, "BreakingTies")
_by_probs("peer:small_text.least_confidence", "small-text", packages.small_text, "LeastConfidence")
_by_probs("peer:small_text.prediction_entropy", "small-text", packages.small_text, "PredictionEntropy")
_by_probs("peer:small_text.random", "small-text", packages.small_text, "RandomSampling")
_activeml_uncertainty("peer:skactiveml.entropy", "entropy")
_activeml_uncertainty("peer:skactiveml.least_confident", "least_confident")
_activeml_uncertainty("peer:skactiveml.margin", "margin_sampling")
_by_features("peer:skactiveml.coreset", "CoreSet")
_by_features("peer:skactiveml.random", "RandomSampling")
_by_features("peer:skactiveml.typiclust", "TypiClust")
