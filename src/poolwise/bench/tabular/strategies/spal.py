"""SPAL: self-paced active learning, easy and useful items first.

Source: Tang & Huang, "Self-Paced Active Learning: Query the Right Thing at the Right Time", AAAI 2019, with the
settings of ALiPy: mu 0.1, lambda 0.1 (not advanced between queries); otherwise the alternation of BMDR with weights
v_i = max(0, 1 - loss_i / lambda) that switch off items which are still too hard.
"""

from __future__ import annotations

import numpy as np

from poolwise.bench.tabular.registry import State, tabular
from poolwise.bench.tabular.simplex import solve_capped
from poolwise.bench.tabular.strategies.bmdr import ROUNDS, fit_decision, problem_of, worst_loss
from poolwise.types import IndexArray

MU = 0.1
PACE = 0.1


@tabular("spal", family="hybrid", paper="Tang & Huang, AAAI 2019", column="SPAL", cost="very slow", binary_only=True)
def spal(state: State) -> IndexArray:
    """Alternate between a kernel model, self-paced weights v and a relaxed batch a; take the largest a v.

    Items of weight 0 tie; the smallest position wins.
    """
    problem = problem_of(state)
    quadratic, linear = problem.match(MU)
    a = np.full(len(state.unlabeled), state.batch_size / len(state.unlabeled))
    v = np.ones(len(state.unlabeled))
    for _ in range(ROUNDS):
        loss = worst_loss(fit_decision(problem, a * v))
        v = np.maximum(0.0, 1 - a * loss / PACE)
        new = solve_capped(quadratic, linear + v * loss, state.batch_size)
        settled = np.abs(new - a).max() < 1e-6
        a = new
        if settled:
            break
    return state.best(a * v)
