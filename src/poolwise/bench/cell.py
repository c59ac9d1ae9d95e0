"""One run of a benchmark: one strategy, one data set, one seed, all rounds."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from poolwise.bench.suite import DatasetUse, StrategyUse
from poolwise.bench.tasks import Task
from poolwise.chance import rng_for
from poolwise.errors import BudgetError
from poolwise.oracles.simulated import answer
from poolwise.query import build_context, run_strategy
from poolwise.registry import STRATEGIES, StrategySpec
from poolwise.stats.balance import class_counts, class_entropy, imbalance_ratio, mean_class_accuracy
from poolwise.train.linear_probe import LinearHead, ProbeSettings, fit_linear
from poolwise.types import IndexArray, plain

FROM_MODEL = {"logits", "probs", "head_weight", "head_bias", "prob_samples", "predicted_loss"}
"""Arrays that do not exist before the first fit."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What one run is. Everything its numbers follow from, but the data and the code, is here."""

    dataset: DatasetUse
    strategy: StrategyUse
    seed: int
    learner: ProbeSettings


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one query: on the clock, and of processor time, which other work on the machine does not change."""

    seconds: float
    cpu: float


def run_cell(cell: Cell, task: Task) -> list[dict[str, Any]]:
    """Label, fit and evaluate round after round.

    The initial items and every random stream depend on the seed and the round, never on the strategy,
    so runs of one seed are paired.

    Returns
    -------
    rounds + 1 rows with the keys of `results.SCHEMA`; fewer if the pool is exhausted.

    Raises
    ------
    BudgetError
        If the initial set is larger than the pool.
    """
    spec = STRATEGIES[cell.strategy.name]
    labeled, cost, chosen_by = _initial(cell, spec, task)
    head: LinearHead | None = None
    rows = []
    for number in range(cell.dataset.rounds + 1):
        start = time.perf_counter()
        y = answer(task.pool_labels, labeled)
        head = fit_linear(
            task.pool[labeled],
            y,
            len(task.classes),
            settings=cell.learner,
            seed=_stream(cell.seed, "benchmark fit", number),
            start=head,
        )
        seconds_fit = time.perf_counter() - start
        rows.append(_row(cell, spec, task, number, labeled, head, cost, seconds_fit, chosen_by))
        left = len(task.pool) - len(labeled)
        if number == cell.dataset.rounds or left == 0:
            break
        seed = _stream(cell.seed, "benchmark query", number)
        batch, cost = _query(spec, cell, task, labeled, head, min(cell.dataset.batch_size, left), seed)
        labeled = np.sort(np.concatenate([labeled, batch]))
        chosen_by = "strategy"
    return rows


def _stream(seed: int, name: str, number: int) -> int:
    return int(rng_for(seed, name, number).integers(2**62))


def _initial(cell: Cell, spec: StrategySpec, task: Task) -> tuple[IndexArray, Cost, str]:
    """Choose the labels of round 0: at random, or by a strategy that can do so without a model."""
    size, n_pool = cell.dataset.initial, len(task.pool)
    if size > n_pool:
        raise BudgetError(
            f"dataset {cell.dataset.label!r}: initial must be between 1 and {n_pool} (items of the pool); got {size}."
        )
    cold = not FROM_MODEL & set(spec.needs)
    if cell.dataset.start == "strategy" and cold and spec.name != "random":
        none = np.empty(0, dtype=np.int64)
        batch, cost = _query(spec, cell, task, none, None, size, _stream(cell.seed, "benchmark start", 0))
        return np.sort(batch), cost, "strategy"
    return np.sort(rng_for(cell.seed, "benchmark initial").permutation(n_pool)[:size]), Cost(0.0, 0.0), "random"


def _query(
    spec: StrategySpec,
    cell: Cell,
    task: Task,
    labeled: IndexArray,
    head: LinearHead | None,
    batch_size: int,
    seed: int,
) -> tuple[IndexArray, Cost]:
    arrays: dict[str, Any] = {"embeddings": task.pool}
    if head is not None:
        arrays |= {"head_weight": head.head_weight, "head_bias": head.head_bias}
    if spec.oracle:
        arrays["oracle_labels"] = task.pool_labels
    answers = answer(task.pool_labels, labeled)
    known = answers if len(labeled) else None
    options = cell.strategy.options
    context = build_context(spec, arrays, labeled=labeled, labels=known, trusted=True, options=options)
    start = time.process_time()
    selection = run_strategy(spec, context, batch_size=batch_size, seed=seed, options=options)
    return selection.indices, Cost(selection.seconds, time.process_time() - start)


def _row(
    cell: Cell,
    spec: StrategySpec,
    task: Task,
    number: int,
    labeled: IndexArray,
    head: LinearHead,
    cost: Cost,
    seconds_fit: float,
    chosen_by: str,
) -> dict[str, Any]:
    n_classes = len(task.classes)
    probs = head.probs(task.test)
    guess = probs.argmax(axis=1)
    own = probs[np.arange(len(probs)), task.test_labels]
    y = task.pool_labels[labeled]
    return {
        "dataset": cell.dataset.label,
        "strategy": cell.strategy.label,
        "strategy_name": spec.name,
        "options": json.dumps(plain(dict(cell.strategy.options)), sort_keys=True),
        "oracle": spec.oracle,
        "seed": cell.seed,
        "round": number,
        "n_labeled": len(labeled),
        "accuracy": float((guess == task.test_labels).mean()),
        "mean_class_accuracy": mean_class_accuracy(task.test_labels, guess, n_classes),
        "log_loss": float(-np.log(np.maximum(own, 1e-12)).mean()),
        "class_entropy": class_entropy(y, n_classes),
        "imbalance_ratio": imbalance_ratio(y, n_classes),
        "classes_seen": int((class_counts(y, n_classes) > 0).sum()),
        "seconds_query": cost.seconds,
        "seconds_query_cpu": cost.cpu,
        "seconds_fit": seconds_fit,
        "temperature": head.temperature,
        "strength": head.strength,
        "chosen_by": chosen_by,
        "labeled_digest": hashlib.sha256(labeled.astype("<i8").tobytes()).hexdigest()[:12],
    }
