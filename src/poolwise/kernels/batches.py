"""From scores to batches: random batches that follow the scores, scores per price, and limits per group.

Source: Kirsch, Farquhar, Atighehchian, Jesson, Branchaud-Charron & Gal, "Stochastic Batch Acquisition: A Simple
Baseline for Deep Active Learning", TMLR 2023, section 3; the Gumbel-top-k trick draws without replacement.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.sampling import best_first
from poolwise.types import FloatArray, IndexArray

SMALLEST_SCORE = 1e-300
"""Scores of 0 count as it before a logarithm: they come last, in random order."""


def from_zero(scores: FloatArray) -> FloatArray:
    """Return scores as they are if none is below 0; else moved so that the lowest is 0."""
    low = scores[np.isfinite(scores)].min(initial=0.0)
    return scores if low >= 0 else np.asarray(np.maximum(scores - low, 0))


def gumbel(indices: IndexArray, rng: np.random.Generator) -> FloatArray:
    """Draw standard Gumbel noise for (n,) sorted pool indices: the noise of an item depends on its index only."""
    uniform = rng.random(int(indices[-1]) + 1)[indices]
    return np.asarray(-np.log(-np.log(np.maximum(uniform, SMALLEST_SCORE))))


def perturbed(scores: FloatArray, kind: str, beta: float, indices: IndexArray, rng: np.random.Generator) -> FloatArray:
    """Turn scores into keys whose order is a random draw without replacement.

    Parameters
    ----------
    scores : (n,) float
    kind : "power" draws in proportion to score^beta (scores below 0 are moved to start at 0), "softmax" to
        exp(beta score), "softrank" to rank^-beta; "none" keeps the scores
    beta : > 0; the larger, the closer to the plain top
    indices : (n,) int64 sorted pool indices

    Returns
    -------
    (n,) float64, higher = sooner.

    Raises
    ------
    OptionError
        If beta is not above 0.
    """
    if kind == "none":
        return scores
    if not beta > 0:
        raise OptionError(f"beta must be above 0; got {beta}. Leave it out for 1.")
    noise = gumbel(indices, rng) / beta
    if kind == "power":
        return np.asarray(np.log(np.maximum(from_zero(scores), SMALLEST_SCORE)) + noise)
    if kind == "softmax":
        return scores + noise
    rank = np.empty(len(scores))
    rank[best_first(scores, indices, len(scores))] = np.arange(1, len(scores) + 1)
    return noise - np.log(rank)


def within_limit(groups: IndexArray, limit: int) -> IndexArray:
    """Keep the first `limit` of each group: positions within (n,) group numbers in order of preference."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    first = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    rank = np.arange(len(ordered)) - np.repeat(first, np.diff(first, append=len(ordered)))
    return np.sort(order[rank < limit])
