"""One run: query, reveal, retrain, score, until the pool is exhausted or the budget is spent."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poolwise.bench.tabular.bridge import find_strategy
from poolwise.bench.tabular.evaluate import Evaluator
from poolwise.bench.tabular.metrics import Scores
from poolwise.bench.tabular.protocol import Cell
from poolwise.bench.tabular.registry import State, check_fits
from poolwise.chance import rng_for
from poolwise.errors import BudgetError, InputError
from poolwise.types import UNLABELED, IndexArray


@dataclass(frozen=True, slots=True)
class Curve:
    """What one run did.

    order : (Q,) int64 train positions in the order of the queries
    n_labeled : (R+1,) int64 labels known when each model was trained
    n_correct : (R+1,) int64 correct predictions on the test part
    f1, auc_hard, auc : (R+1,) float64, see `metrics.Scores`
    n_test : rows of the test part
    seconds : time spent in queries, without the curve's own training
    """

    order: IndexArray
    n_labeled: IndexArray
    n_correct: IndexArray
    f1: NDArray[np.float64]
    auc_hard: NDArray[np.float64]
    auc: NDArray[np.float64]
    n_test: int
    seconds: float


def curve_of(
    order: Sequence[int], n_labeled: Sequence[int], scores: Sequence[Scores], n_test: int, seconds: float
) -> Curve:
    """Put the scores of each step side by side."""
    return Curve(
        order=np.array(order, dtype=np.int64),
        n_labeled=np.array(n_labeled, dtype=np.int64),
        n_correct=np.array([s.n_correct for s in scores], dtype=np.int64),
        f1=np.array([s.f1 for s in scores]),
        auc_hard=np.array([s.auc_hard for s in scores]),
        auc=np.array([s.auc for s in scores]),
        n_test=n_test,
        seconds=seconds,
    )


def simulate(
    cell: Cell,
    strategy: str,
    evaluator: Evaluator | None = None,
    *,
    batch_size: int = 1,
    budget: int | None = None,
) -> Curve:
    """Run one strategy on one cell.

    Parameters
    ----------
    evaluator : shared by the strategies of a cell, so that equal labeled sets are scored once
    budget : labels to buy, by default the whole pool; the last batch is shortened where it does not divide

    Raises
    ------
    UnknownNameError, OptionError
        If there is no such strategy, or it is not defined for this cell.
    BudgetError
        If batch_size or budget is below 1, or the budget exceeds the pool.
    InputError
        If the strategy returns anything but distinct unlabeled positions.
    """
    entry = find_strategy(strategy)
    check_fits(entry, cell.dataset, cell.n_classes, batch_size)
    evaluator = evaluator or Evaluator(cell)
    n_train = len(cell.x_train)
    pool = n_train - cell.n_initial
    budget = pool if budget is None else budget
    if not 1 <= budget <= pool or batch_size < 1:
        raise BudgetError(
            f"{cell.dataset}: budget must be between 1 and {pool} (the pool) and batch_size at least 1; "
            f"got budget {budget}, batch_size {batch_size}."
        )
    known = np.zeros(n_train, dtype=bool)
    known[: cell.n_initial] = True
    state = State(
        x=cell.x_train,
        labels=np.where(known, cell.y_train, UNLABELED),
        labeled=np.flatnonzero(known),
        unlabeled=np.flatnonzero(~known),
        n_classes=cell.n_classes,
        batch_size=min(batch_size, budget),
        n_queries=budget,
        rng=rng_for(cell.seed, f"tabular/{strategy}"),
        evaluator=evaluator,
    )
    order: list[int] = []
    n_labeled, scores = [cell.n_initial], [evaluator.scores(state.labeled)]
    seconds = 0.0
    while len(order) < budget:
        state.batch_size = min(batch_size, budget - len(order))
        start = time.perf_counter()
        batch = np.asarray(entry.query(state), dtype=np.int64)
        seconds += time.perf_counter() - start
        if len(batch) != state.batch_size or len(np.unique(batch)) < len(batch) or known[batch].any():
            raise InputError(
                f"tabular strategy {strategy!r} must return {state.batch_size} distinct unlabeled positions; "
                f"got {batch.tolist()}. Correct its query function."
            )
        known[batch] = True
        state.labels[batch] = cell.y_train[batch]
        state.labeled, state.unlabeled = np.flatnonzero(known), np.flatnonzero(~known)
        order += batch.tolist()
        n_labeled.append(len(state.labeled))
        scores.append(evaluator.scores(state.labeled))
    return curve_of(order, n_labeled, scores, len(cell.x_test), seconds)
