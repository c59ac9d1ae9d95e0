"""Active learning by learning: a bandit that chooses among four query rules.

Source: Hsu & Lin, "Active Learning by Learning", AAAI 2015, with Exp4.P of Beygelzimer et al., AISTATS 2011, and the
arms of libact as run by Lu, Li & Lin, arXiv 2306.08954: uncertainty of logistic models with C = 1 and C = 0.01,
HintSVM, and uniform. delta = 0.1, T = Q, p_min = sqrt(ln N / (N T)); the reward is the importance-weighted accuracy
of the logistic model on its own queries.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from poolwise.bench.tabular.registry import State, tabular
from poolwise.bench.tabular.strategies.hintsvm import hintsvm
from poolwise.bench.tabular.strategies.us_nc import entropy, logistic_probs
from poolwise.types import IndexArray

N_ARMS = 4
DELTA = 0.1
C_ARMS = (1.0, 0.01)
C_REWARD = 1.0

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Bandit:
    """Weights of the arms, and what has been drawn.

    pool : (K,) int64 positions that were unlabeled at the start; every draw is one of them
    asked, importance : positions drawn so far (also those already labeled) and 1 / probability of each draw
    pending : last draw, not yet rewarded: advice (N, K), mixture (K,), place in `pool`
    """

    pool: IndexArray
    horizon: int
    weights: Floats = field(default_factory=lambda: np.ones(N_ARMS))
    asked: list[int] = field(default_factory=list)
    importance: list[float] = field(default_factory=list)
    pending: tuple[Floats, Floats, int] | None = None

    @property
    def p_min(self) -> float:
        """Smallest probability of an arm; at most 1 / N."""
        return float(min(np.sqrt(np.log(N_ARMS) / (N_ARMS * self.horizon)), 1 / N_ARMS))

    def arm_probs(self) -> Floats:
        """Probability of each arm, (N,)."""
        probs: Floats = (1 - N_ARMS * self.p_min) * self.weights / self.weights.sum() + self.p_min
        return probs

    def draw(self, advice: Floats, rng: np.random.Generator) -> int:
        """Draw a pool position from the arms' advice, (N, K) with rows that sum to 1."""
        q = self.arm_probs() @ advice  # (K,)
        place = int(rng.choice(len(q), p=q / q.sum()))
        self.pending = (advice, q, place)
        self.asked.append(int(self.pool[place]))
        self.importance.append(float(1 / q[place]))
        return int(self.pool[place])

    def reward(self, value: float) -> None:
        """Update the weights with the reward of the last draw (Exp4.P)."""
        if self.pending is None:
            return
        advice, q, place = self.pending
        seen = np.divide(advice, q, out=np.zeros_like(advice), where=q > 0)
        estimate = advice[:, place] * value / q[place]  # (N,)
        bonus = seen.sum(axis=1) * np.sqrt(np.log(N_ARMS / DELTA) / (len(self.pool) * self.horizon))
        exponent = self.p_min / 2 * (estimate + bonus)
        self.weights = self.weights * np.exp(exponent - exponent.max())  # only ratios matter
        self.weights /= self.weights.max()
        self.pending = None


@tabular(
    "albl",
    family="bandit",
    paper="Hsu & Lin, AAAI 2015",
    column="ALBL",
    cost="slow",
    binary_only=True,
    single_only=True,
)
def albl(state: State) -> IndexArray:
    """Draw from the advice of four rules; draws of items already labeled reward their arms without cost."""
    if "bandit" not in state.memo:
        state.memo["bandit"] = Bandit(state.unlabeled.copy(), state.n_queries)
    bandit: Bandit = state.memo["bandit"]
    predicted = logistic_probs(state, C_REWARD).argmax(axis=1)
    bandit.reward(_weighted_accuracy(bandit, predicted, state.labels))
    picks = [int(state.best(entropy(logistic_probs(state, c)[state.unlabeled]))[0]) for c in C_ARMS]
    picks.append(int(hintsvm(state)[0]))
    advice = np.zeros((N_ARMS, len(bandit.pool)))
    advice[np.arange(N_ARMS - 1), np.searchsorted(bandit.pool, picks)] = 1.0
    advice[-1] = 1 / len(bandit.pool)
    while True:
        position = bandit.draw(advice, state.rng)
        if state.labels[position] < 0:
            return np.array([position], dtype=np.int64)
        bandit.reward(_weighted_accuracy(bandit, predicted, state.labels))


def _weighted_accuracy(bandit: Bandit, predicted: IndexArray, labels: IndexArray) -> float:
    right = predicted[bandit.asked] == labels[bandit.asked]
    return float(right @ np.array(bandit.importance)) / (len(bandit.pool) * bandit.horizon)
