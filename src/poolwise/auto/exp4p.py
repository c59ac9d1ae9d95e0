"""EXP4.P: weights of experts that give advice about items, and accuracy estimated from items drawn unevenly.

Source: Beygelzimer, Langford, Li, Reyzin & Schapire, "Contextual Bandit Algorithms with Supervised Learning
Guarantees", AISTATS 2011, Algorithm 1; Hsu & Lin, "Active Learning by Learning", AAAI 2015, sections 3 and 4.
"""

from __future__ import annotations

import math

import numpy as np

from poolwise.errors import OptionError
from poolwise.types import BoolArray, FloatArray


def least_probability(n_experts: int, n_draws: int) -> float:
    """Smallest probability of an expert, sqrt(ln N / (N T)), at most 1 / N."""
    return min(1 / n_experts, math.sqrt(math.log(max(n_experts, 2)) / (n_experts * max(1, n_draws))))


def probabilities(weights: FloatArray, least: float) -> FloatArray:
    """Probabilities of the experts, (N,): each at least `least`, summing to 1.

    Raises
    ------
    OptionError
        If N times `least` is above 1.
    """
    n = len(weights)
    if not 0 <= n * least <= 1 + 1e-12:
        raise OptionError(f"smallest probability must be between 0 and 1 / {n} (experts); got {least}.")
    out: FloatArray = (1 - n * least) * weights / weights.sum() + least
    return out


def updated(
    weights: FloatArray, least: float, gains: FloatArray, bonus: FloatArray, n_draws: int, delta: float
) -> FloatArray:
    """Multiply all weights by exp(least / 2 (gain + bonus sqrt(ln(N / delta) / (N T)))); scaled to mean 1.

    Parameters
    ----------
    weights : (N,) > 0
    least : smallest probability
    gains : (N,) sum over draws of advice . reward / q
    bonus : (N,) sum over draws of advice . 1 / q
    n_draws : T
    delta : in (0, 1]

    Returns
    -------
    (N,) positive and finite, mean 1: only ratios matter.
    """
    n = len(weights)
    power = least / 2 * (gains + bonus * math.sqrt(math.log(n / delta) / (n * max(1, n_draws))))
    log = np.log(weights) + power
    out = np.maximum(np.exp(log - log.max()), 1e-12)
    return np.asarray(out / out.mean())


def weighted_accuracy(right: BoolArray, q: FloatArray, n_items: int) -> float:
    """Estimate without bias how many of n items are predicted rightly from items drawn with probabilities q.

    Parameters
    ----------
    right : (T,) whether each drawn item is predicted rightly
    q : (T,) probability with which it was drawn
    n_items : n, number of items that could be drawn

    Returns
    -------
    sum(right / q) / (n T); may be above 1 by chance.
    """
    return float((right / q).sum() / (n_items * len(q)))


def batch_updated(
    weights: FloatArray, least: float, arm: int, reward: float, probability: float, delta: float
) -> FloatArray:
    """Multiply the weight of the expert that chose by exp(least / 2 (reward + sqrt(ln(N / delta) / N) / p))."""
    n = len(weights)
    out = weights.astype(np.float64)
    out[arm] *= math.exp(least / 2 * (reward + math.sqrt(math.log(n / delta) / n) / probability))
    return out
