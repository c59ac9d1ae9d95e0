"""MQ-Net: learn from the answers so far how much purity and how much informativeness a pick should have.

Source: Park, Shin, Song & Lee, "Meta-Query-Net: Resolving Purity-Informativeness Dilemma in Open-set Active Learning",
NeurIPS 2022, section 4 (a monotone network of two inputs, trained on pairs to rank by masked loss).
Differs from the paper: it learns from all labeled and rejected items, not from the last batch alone; purity is the
largest cosine to another labeled item; inputs are standardised scores through a logistic function, where the paper
takes exponentials, which overflow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poolwise.errors import InputError
from poolwise.kernels.distances import UnitRows
from poolwise.kernels.sampling import best_first, stream_scores
from poolwise.kernels.scores import least_confidence
from poolwise.ood.knn import kth_distance
from poolwise.registry import strategy
from poolwise.types import BoolArray, FloatArray, IndexArray, Picks, Rows

FEWEST = 5
"""With fewer labeled or fewer rejected items there is nothing to learn: both inputs are summed."""
HIDDEN, EPOCHS, PAIRS = 64, 300, 512
MARGIN, RATE = 0.1, 0.3
NEIGHBOR_ITSELF = 2


@strategy(
    "mqnet",
    family="open set",
    paper="arXiv:2210.07805",
    cost="one pass against the labeled items",
    use_when="An open pool over several rounds: it turns from purity to informativeness as the answers say.",
)
def mqnet(
    embeddings: Rows,
    probs: Rows,
    labels: IndexArray,
    labeled: IndexArray,
    unlabeled: IndexArray,
    foreign: BoolArray | None = None,
    *,
    batch_size: int,
    rng: np.random.Generator,
) -> Picks:
    """Take the items of largest learned score, which grows with informativeness and with purity.

    Parameters
    ----------
    embeddings : (N, D) features; rows are scaled to unit length
    probs : (N, C) class probabilities
    labels : (N,) int64, -1 where unlabeled
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted
    foreign : (N,) bool, items rejected by annotators
    batch_size : B, 1 <= B <= U
    rng : initial weights and pairs of the network

    Returns
    -------
    Picks; scores are the network's; components `informativeness` (one minus the largest probability) and `purity`
    (cosine to the nearest labeled item).

    Raises
    ------
    InputError
        If nothing is labeled.

    Notes
    -----
    Time O(U L D), memory O(U).
    """
    if not len(labeled):
        raise InputError("mqnet needs labeled items to know what is of interest; got none. Label some first.")
    unit = UnitRows(embeddings)
    informative = stream_scores(least_confidence, {"probs": probs}, unlabeled)
    pure = 1 - np.square(kth_distance(unit, unlabeled, labeled, 1)) / 2
    scale = [(float(v.mean()), float(v.std()) or 1.0) for v in (informative, pure)]
    rejected = labeled[:0] if foreign is None else np.flatnonzero(foreign)
    learned = min(len(labeled), len(rejected)) >= FEWEST
    inputs = _inputs(informative, pure, scale)
    if learned:
        known_pure = 1 - np.square(kth_distance(unit, labeled, labeled, NEIGHBOR_ITSELF)) / 2
        other_pure = 1 - np.square(kth_distance(unit, rejected, labeled, 1)) / 2
        known_q = stream_scores(least_confidence, {"probs": probs}, labeled)
        other_q = stream_scores(least_confidence, {"probs": probs}, rejected)
        x = _inputs(np.concatenate([known_q, other_q]), np.concatenate([known_pure, other_pure]), scale)
        worth = np.concatenate([known_q + 1e-3, np.zeros(len(rejected))])  # a rejected item is worth nothing
        scores = fit_monotone(x, worth, rng).scores(inputs)
    else:
        scores = inputs.sum(axis=1)
    chosen = best_first(scores, unlabeled, batch_size)
    return Picks(
        unlabeled[chosen],
        scores[chosen],
        {"informativeness": informative[chosen], "purity": pure[chosen]},
        {"learned": learned},
    )


def _inputs(informative: FloatArray, pure: FloatArray, scale: list[tuple[float, float]]) -> FloatArray:
    """Standardised scores through a logistic function, (n, 2) in (0, 1)."""
    z = np.column_stack([(v - mean) / std for v, (mean, std) in zip((informative, pure), scale, strict=True)])
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -30, 30))))


@dataclass(slots=True)
class Monotone:
    """A network 2 -> H -> 1 that falls in no input: weights count as max(0, weight).

    first : (2, H), bias : (H,), second : (H,)
    """

    first: FloatArray
    bias: FloatArray
    second: FloatArray

    def hidden(self, x: FloatArray) -> FloatArray:
        """Activations (n, H)."""
        return np.asarray(1 / (1 + np.exp(-(x @ np.maximum(self.first, 0) + self.bias))))

    def scores(self, x: FloatArray) -> FloatArray:
        """Outputs (n,)."""
        return np.asarray(np.einsum("ij,j->i", self.hidden(x), np.maximum(self.second, 0)))


def fit_monotone(x: FloatArray, worth: FloatArray, rng: np.random.Generator) -> Monotone:
    """Train the network to rank items by their worth: hinge loss on random pairs, plain gradient steps.

    Parameters
    ----------
    x : (n, 2) inputs; worth : (n,) what the order should follow
    """
    net = Monotone(rng.uniform(0, 2, (2, HIDDEN)), rng.uniform(-2, 0, HIDDEN), rng.uniform(0, 2 / HIDDEN, HIDDEN))
    for _ in range(EPOCHS):
        i, j = rng.integers(len(x), size=(2, PAIRS))
        sign = np.sign(worth[i] - worth[j])
        h_i, h_j = net.hidden(x[i]), net.hidden(x[j])
        second = np.maximum(net.second, 0)
        active = ((MARGIN - sign * ((h_i - h_j) @ second)) > 0) & (sign != 0)
        pull = np.where(active, sign, 0.0)[:, None] / PAIRS
        slope_i, slope_j = pull * second * h_i * (1 - h_i), pull * second * h_j * (1 - h_j)
        up_first = x[i].T @ slope_i - x[j].T @ slope_j
        net.second = net.second + RATE * (pull * (h_i - h_j)).sum(axis=0) * (net.second > 0)
        net.first = net.first + RATE * HIDDEN * up_first * (net.first > 0)
        net.bias = net.bias + RATE * HIDDEN * (slope_i - slope_j).sum(axis=0)
    return net
