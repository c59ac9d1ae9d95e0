"""Splits and scaling of the tabular benchmark, to the bit.

Source: Lu, Li & Lin, "Re-Benchmarking Pool-Based Active Learning for Binary Classification",
arXiv 2306.08954 (2023): the split, the initial set and the scaler of their released code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from poolwise.bench.tabular.loader import TabularSet
from poolwise.errors import InputError
from poolwise.types import IndexArray

N_INITIAL = 20
TRAIN_SHARE = 0.6


class SeedSkippedError(InputError):
    """A seed cannot be run: the train part or the initial set misses a class. Reported, never replaced."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One data set split by one seed. Positions 0..n_initial-1 of the train part are labeled first.

    x_train, x_test : (n_train, d), (n_test, d) float64, scaled with the statistics of all train rows
    y_train, y_test : (n_train,), (n_test,) int64 in 0..C-1
    train, test : rows of the file, in the order of x_train and x_test
    """

    dataset: str
    seed: int
    n_classes: int
    n_initial: int
    train: IndexArray
    test: IndexArray
    x_train: NDArray[np.float64]
    y_train: IndexArray
    x_test: NDArray[np.float64]
    y_test: IndexArray


def split(n: int, seed: int) -> tuple[IndexArray, IndexArray]:
    """Split n rows: 60 % train, in the order in which Random queries them, and the rest.

    Returns
    -------
    train (int(0.6 n),) and test int64 row numbers.

    Notes
    -----
    Two generators with the same seed: the first shuffles all rows, the second the train part.
    """
    n_train = int(n * TRAIN_SHARE)
    rows = np.arange(n)
    np.random.default_rng(seed).shuffle(rows)
    train, test = rows[:n_train].copy(), rows[n_train:].copy()
    np.random.default_rng(seed).shuffle(train)
    return train, test


def make_cell(data: TabularSet, seed: int, n_initial: int = N_INITIAL) -> Cell:
    """Split and scale one data set.

    Raises
    ------
    SeedSkippedError
        If the train part has no more than n_initial rows, or it or the initial set misses a class.
    """
    train, test = split(len(data.x), seed)
    if len(train) <= n_initial:
        raise SeedSkippedError(
            f"{data.name}: {len(train)} train rows leave nothing to query after an initial set of {n_initial}; "
            "take a larger data set or a smaller initial set."
        )
    for what, rows in (("train part", train), ("initial set", train[:n_initial])):
        n_there = len(np.unique(data.y[rows]))
        if n_there < data.n_classes:
            raise SeedSkippedError(
                f"{data.name}, seed {seed}: the {what} holds {n_there} of {data.n_classes} classes; seed skipped."
            )
    scaler = StandardScaler().fit(data.x[train])
    return Cell(
        dataset=data.name,
        seed=seed,
        n_classes=data.n_classes,
        n_initial=n_initial,
        train=train,
        test=test,
        x_train=np.ascontiguousarray(scaler.transform(data.x[train])),
        y_train=data.y[train],
        x_test=np.ascontiguousarray(scaler.transform(data.x[test])),
        y_test=data.y[test],
    )
