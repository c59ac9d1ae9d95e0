"""What the runs of one seed meet: the pool it draws, the classes that count, and the answers of its oracle.

Everything here depends on the seed and the data set, never on the strategy, so runs of one seed are paired.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poolwise.bench.suite import DatasetUse
from poolwise.bench.tasks import Task, long_tail
from poolwise.chance import rng_for
from poolwise.errors import InputError, OptionError
from poolwise.oracles.noisy import flip_labels
from poolwise.types import IndexArray

FOREIGN = -1
"""The answer "not of interest"."""


@dataclass(frozen=True, slots=True)
class World:
    """Arrays of one seed; classes are numbered 0 to K - 1 among those of interest.

    pool : (N, D) float32
    truth : (N,) int64; FOREIGN for items of other classes
    answers : (N,) int64, what the oracle says; differs from the truth where it errs
    test, test_labels : (n, D) float32, (n,) int64; of the K classes only
    n_classes : K
    """

    pool: NDArray[np.float32]
    truth: IndexArray
    answers: IndexArray
    test: NDArray[np.float32]
    test_labels: IndexArray
    n_classes: int


def draw_world(task: Task, dataset: DatasetUse, seed: int) -> World:
    """Draw the pool of a seed: thin out classes, draw a share of the rows, choose foreign classes, draw the answers.

    Raises
    ------
    OptionError
        If `foreign` leaves fewer than two classes or none that is foreign.
    InputError
        If fewer than two rows are left, or no test rows.

    Notes
    -----
    With nothing to change, the arrays are those of the task, not copies.
    """
    rows = np.arange(len(task.pool))
    if dataset.long_tail < 1:
        rows = long_tail(task.pool_labels, dataset.long_tail, rng_for(seed, "benchmark long tail"))
    if dataset.resample < 1:
        size = round(dataset.resample * len(rows))
        rows = np.sort(rng_for(seed, "benchmark resample").permutation(rows)[:size])
    if len(rows) < 2:
        raise InputError(
            f"dataset {dataset.label!r}: {len(rows)} pool items are left; use a larger pool or 'resample'."
        )
    number = _renumber(len(task.classes), dataset, seed)  # (C,), FOREIGN for classes that do not count
    whole = len(rows) == len(task.pool)
    truth = number[task.pool_labels[rows]]
    tested = number[task.test_labels] >= 0
    if not tested.any():
        raise InputError(f"dataset {dataset.label!r}: no test item is of a class of interest; use more classes.")
    everything = bool(tested.all())
    n_classes = int(number.max()) + 1
    answers = truth
    if dataset.noise > 0:
        answers = flip_labels(truth, n_classes, dataset.noise, seed=seed)
    return World(
        pool=task.pool if whole else task.pool[rows],
        truth=truth,
        answers=answers,
        test=task.test if everything else task.test[tested],
        test_labels=number[task.test_labels[tested]],
        n_classes=n_classes,
    )


def _renumber(n_classes: int, dataset: DatasetUse, seed: int) -> IndexArray:
    """(C,) new number of each class; FOREIGN for a share of them that the seed draws."""
    number = np.arange(n_classes, dtype=np.int64)
    if dataset.foreign == 0:
        return number
    n_foreign = round(dataset.foreign * n_classes)
    if not 1 <= n_foreign <= n_classes - 2:
        raise OptionError(
            f"dataset {dataset.label!r}: foreign = {dataset.foreign:g} makes {n_foreign} of {n_classes} classes "
            "foreign; expected at least 1, and at least 2 left. Choose another share, or a task with more classes."
        )
    chosen = rng_for(seed, "benchmark foreign classes").permutation(n_classes)[:n_foreign]
    known = np.ones(n_classes, dtype=bool)
    known[chosen] = False
    return np.where(known, np.cumsum(known) - 1, FOREIGN).astype(np.int64)
