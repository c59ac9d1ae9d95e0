"""One run of a benchmark: one strategy, one data set, one seed, all rounds."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from poolwise.bench.fits import fit
from poolwise.bench.suite import DatasetUse, StrategyUse, import_modules
from poolwise.bench.tasks import Task
from poolwise.bench.world import World, draw_world
from poolwise.chance import rng_for
from poolwise.errors import BudgetError, InputError
from poolwise.query import choose
from poolwise.registry import STRATEGIES, StrategySpec
from poolwise.stats.balance import class_counts, class_entropy, imbalance_ratio, mean_class_accuracy
from poolwise.train.learners import Learner, LinearProbe, Model, NamedLearner
from poolwise.train.linear_probe import LinearHead, ProbeSettings
from poolwise.types import IndexArray, Selection, plain

FROM_LABELS = {"labels", "logits", "probs", "head_weight", "head_bias", "prob_samples", "predicted_loss"}
"""Arrays that do not exist, or say nothing, before the first labels."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What one run is. Everything its numbers follow from, but the data and the code, is here.

    modules : imported before the run, in whatever process it runs in
    """

    dataset: DatasetUse
    strategy: StrategyUse
    seed: int
    learner: ProbeSettings | NamedLearner
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one query, with what is derived and detected for it: on the clock, and of processor time, which other
    work on the machine does not change.

    expected_gain : what the strategy says its batch is worth, if it says so (notes of the batch)
    """

    seconds: float
    cpu: float
    expected_gain: float | None = None


def run_cell(cell: Cell, task: Task) -> list[dict[str, Any]]:
    """Ask, fit and evaluate round after round.

    The pool, its answers, the initial items and every random stream depend on the seed and the round, never on the
    strategy, so runs of one seed are paired.

    Returns
    -------
    rounds + 1 rows with the keys of `results.SCHEMA`; fewer if the pool is exhausted.

    Raises
    ------
    BudgetError
        If the initial set is larger than the pool.
    InputError
        If it holds no item of a class of interest.
    """
    import_modules(cell.modules)
    spec = STRATEGIES[cell.strategy.name]
    world = draw_world(task, cell.dataset, cell.seed)
    learner: Learner = LinearProbe(cell.learner) if isinstance(cell.learner, ProbeSettings) else cell.learner
    asked, cost, chosen_by = _initial(cell, spec, world)
    model: Model | None = None
    rows = []
    history: list[Selection] = []
    for number in range(cell.dataset.rounds + 1):
        labeled = _of_interest(cell, world, asked)
        model, seconds_fit = fit(
            learner,
            world.pool[labeled],
            world.answers[labeled],
            world.n_classes,
            seed=_stream(cell.seed, "benchmark fit", number),
            start=model,
        )
        rows.append(_row(cell, spec, world, number, asked, model, cost, seconds_fit, chosen_by))
        left = len(world.pool) - len(asked)
        if number == cell.dataset.rounds or left == 0:
            break
        seed = _stream(cell.seed, "benchmark query", number)
        size = min(cell.dataset.batch_size, left)
        selection, cost = _query(spec, cell, world, asked, model, size, seed, history)
        history.append(selection)
        asked = np.sort(np.concatenate([asked, selection.indices]))
        chosen_by = "strategy"
    return rows


def _stream(seed: int, name: str, number: int) -> int:
    return int(rng_for(seed, name, number).integers(2**62))


def _of_interest(cell: Cell, world: World, asked: IndexArray) -> IndexArray:
    """Keep the items whose answer is a class."""
    labeled = asked[world.answers[asked] >= 0]
    if not len(labeled):
        raise InputError(
            f"dataset {cell.dataset.label!r}: none of the {len(asked)} initial items of seed {cell.seed} is of a class "
            "of interest; begin with a larger 'initial'."
        )
    return labeled


def _initial(cell: Cell, spec: StrategySpec, world: World) -> tuple[IndexArray, Cost, str]:
    """Choose the items of round 0: at random, or by a strategy that can do so without a model."""
    size, n_pool = cell.dataset.initial, len(world.pool)
    if size > n_pool:
        raise BudgetError(
            f"dataset {cell.dataset.label!r}: initial must be between 1 and {n_pool} (items of the pool); got {size}."
        )
    cold = not FROM_LABELS & set(spec.needs)
    if cell.dataset.start == "strategy" and cold and spec.name != "random":
        none = np.empty(0, dtype=np.int64)
        selection, cost = _query(spec, cell, world, none, None, size, _stream(cell.seed, "benchmark start", 0), [])
        return np.sort(selection.indices), cost, "strategy"
    return np.sort(rng_for(cell.seed, "benchmark initial").permutation(n_pool)[:size]), Cost(0.0, 0.0), "random"


def _query(
    spec: StrategySpec,
    cell: Cell,
    world: World,
    asked: IndexArray,
    model: Model | None,
    batch_size: int,
    seed: int,
    history: list[Selection],
) -> tuple[Selection, Cost]:
    arrays: dict[str, Any] = {"embeddings": world.pool}
    if isinstance(model, LinearHead):
        arrays |= {"head_weight": model.head_weight, "head_bias": model.head_bias}
    elif model is not None:
        arrays["probs"] = model.probs(world.pool)
    if spec.oracle:  # whatever is not of interest is one more class
        arrays["oracle_labels"] = np.where(world.truth >= 0, world.truth, world.n_classes)
    known = world.answers[asked] >= 0
    labeled, foreign = asked[known], asked[~known]
    free = np.ones(len(world.pool), dtype=bool)
    free[asked] = False
    state = {
        "labeled": labeled,
        "unlabeled": np.flatnonzero(free),
        "labels": world.answers[labeled] if len(labeled) else None,
        "foreign": foreign,
        "history": history,
    }
    clock, cpu = time.perf_counter(), time.process_time()
    selection = choose(
        spec,
        arrays,
        state,
        batch_size=batch_size,
        seed=seed,
        options=cell.strategy.options,
        ood=cell.strategy.ood if len(labeled) else None,  # before the first answer there is nothing to learn from
        trusted=True,
    )
    seconds, spent = time.perf_counter() - clock, time.process_time() - cpu
    return selection, Cost(seconds, spent, selection.notes.get("expected_gain"))


def _row(
    cell: Cell,
    spec: StrategySpec,
    world: World,
    number: int,
    asked: IndexArray,
    model: Model,
    cost: Cost,
    seconds_fit: float,
    chosen_by: str,
) -> dict[str, Any]:
    n_classes = world.n_classes
    probs = model.probs(world.test)
    guess = probs.argmax(axis=1)
    own = probs[np.arange(len(probs)), world.test_labels]
    y = world.truth[asked]
    known = y[y >= 0]
    head = model if isinstance(model, LinearHead) else None
    return {
        "dataset": cell.dataset.label,
        "strategy": cell.strategy.label,
        "strategy_name": spec.name,
        "options": json.dumps(plain(dict(cell.strategy.options)), sort_keys=True),
        "oracle": spec.oracle,
        "seed": cell.seed,
        "round": number,
        "n_labeled": len(asked),
        "n_foreign": len(asked) - len(known),
        "accuracy": float((guess == world.test_labels).mean()),
        "mean_class_accuracy": mean_class_accuracy(world.test_labels, guess, n_classes),
        "log_loss": float(-np.log(np.maximum(own, 1e-12)).mean()),
        "class_entropy": class_entropy(known, n_classes),
        "imbalance_ratio": imbalance_ratio(known, n_classes),
        "classes_seen": int((class_counts(known, n_classes) > 0).sum()),
        "seconds_query": cost.seconds,
        "seconds_query_cpu": cost.cpu,
        "seconds_fit": seconds_fit,
        "temperature": None if head is None else head.temperature,
        "strength": None if head is None else head.strength,
        "chosen_by": chosen_by,
        "labeled_digest": hashlib.sha256(asked.astype("<i8").tobytes()).hexdigest()[:12],
        "expected_gain": cost.expected_gain,
    }
