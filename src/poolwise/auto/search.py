"""The search of AutoAL: weights of candidates, learned by gradient steps through a relaxed top b.

Source: Wang et al., "AutoAL: Automated Active Learning with Differentiable Query Strategy Search", ICML 2025,
sections 3.2 and 3.3 (SearchNet weighs the candidates, for all items alike or item by item).
Differs from the paper: gates that sum to the quota exactly in place of a mixture model and a count penalty; a linear
SearchNet on a few features of an item in place of an image network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from poolwise.auto.relaxed_top import pull_back, relaxed_top
from poolwise.types import FloatArray

HOT, COLD = 0.1, 0.01
"""First and last temperature."""
RATE = 0.15
DECAY = 1e-3
"""Pull of all parameters to 0, that is to equal weights."""

Objective = Callable[[FloatArray], tuple[float, FloatArray]]
"""From (n,) gates to a loss and its (n,) derivatives."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Items, what the candidates say of them, and what choosing some of them costs.

    grades : (n, K)
    features : (n, F); the first column is 1. F = 1 learns one weight per candidate for all items
    count : items to choose
    objective : loss of gates
    """

    grades: FloatArray
    features: FloatArray
    count: int
    objective: Objective


def item_weights(parameters: FloatArray, features: FloatArray) -> FloatArray:
    """Weights of the candidates for each item, (n, K); rows sum to 1."""
    z = features @ parameters
    z = np.exp(z - z.max(axis=1, keepdims=True))
    out: FloatArray = z / z.sum(axis=1, keepdims=True)
    return out


def loss_and_gradient(parameters: FloatArray, trial: Trial, temperature: float) -> tuple[float, FloatArray]:
    """Loss of one trial and its exact derivative by the (F, K) parameters."""
    weights = item_weights(parameters, trial.features)  # (n, K)
    scores = (weights * trial.grades).sum(axis=1)  # (n,)
    gates = relaxed_top(scores, trial.count, temperature)
    loss, by_gate = trial.objective(gates)
    by_score = pull_back(gates, by_gate, temperature)
    by_logit = weights * (trial.grades - scores[:, None]) * by_score[:, None]  # softmax
    return loss, trial.features.T @ by_logit


def learn(trials: Sequence[Trial], steps: int) -> FloatArray:
    """Minimise the mean loss of all trials by Adam while the gates harden; (F, K) parameters."""
    shape = (trials[0].features.shape[1], trials[0].grades.shape[1])
    parameters, mean, square = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for step in range(1, steps + 1):
        temperature = HOT * (COLD / HOT) ** ((step - 1) / max(1, steps - 1))
        total = DECAY * parameters
        for trial in trials:
            total = total + loss_and_gradient(parameters, trial, temperature)[1] / len(trials)
        mean = 0.9 * mean + 0.1 * total
        square = 0.99 * square + 0.01 * total**2
        parameters = parameters - RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-12)
    return parameters


def hard_loss(trial: Trial, scores: FloatArray) -> float:
    """Loss of choosing the best scores for good."""
    gates = np.zeros(len(scores))
    gates[np.argsort(-scores, kind="stable")[: trial.count]] = 1
    return trial.objective(gates)[0]


def aim_at(value: FloatArray, count: int) -> Objective:
    """The paper's objective: gates should be open for items of high value, such as FitNet's loss of them."""
    return lambda gates: (-float(gates @ value) / count, -value / count)


def compared(trials: Sequence[Trial], weights: Sequence[FloatArray]) -> dict[str, float]:
    """What choosing with (n, K) weights is worth in the trials; its lead, and the best candidate's, over equal ones.

    Returns
    -------
    `expected_gain` over choosing nothing, `gain_over_equal`, `gain_of_best_candidate`: decreases of the mean loss.
    """
    nothing = np.array([t.objective(np.zeros(len(t.grades)))[0] for t in trials])
    equal = np.array([hard_loss(t, t.grades.mean(axis=1)) for t in trials])
    learned = [hard_loss(t, (t.grades * w).sum(axis=1)) for t, w in zip(trials, weights, strict=True)]
    alone = np.array([[hard_loss(t, t.grades[:, k]) for k in range(t.grades.shape[1])] for t in trials])
    return {
        "expected_gain": float((nothing - learned).mean()),
        "gain_over_equal": float((equal - learned).mean()),
        "gain_of_best_candidate": float((equal[:, None] - alone).mean(axis=0).max()),
    }
