"""Strategies of the tabular benchmark: plain functions of a state that return train positions.

They differ from the array strategies of `poolwise.strategies`: most retrain models at every query, so they get
what a model needs (features, known labels, the evaluation model) and a place to keep things between queries.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from poolwise.bench.tabular.evaluate import Evaluator, Fit
from poolwise.errors import InputError, OptionError
from poolwise.kernels.sampling import best_first
from poolwise.registry import Registry, StrategySpec
from poolwise.types import FloatArray, IndexArray


@dataclass(slots=True)
class State:
    """What a strategy may see when it is asked. Positions are rows of the train part.

    x : (n_train, d) float64, scaled
    labels : (n_train,) int64, class 0..C-1 where labeled, -1 elsewhere
    labeled, unlabeled : (L,), (U,) int64, sorted
    batch_size : number of positions to return, 1 <= B <= U
    n_queries : labels that the whole run will buy
    rng : source of chance of this run
    memo : kept between the queries of one run; empty at the first
    """

    x: NDArray[np.float64]
    labels: IndexArray
    labeled: IndexArray
    unlabeled: IndexArray
    n_classes: int
    batch_size: int
    n_queries: int
    rng: np.random.Generator
    evaluator: Evaluator
    memo: dict[str, Any] = field(default_factory=dict)

    @property
    def y(self) -> IndexArray:
        """Labels of the labeled rows, (L,) int64 in the order of `labeled`."""
        return self.labels[self.labeled]

    @property
    def signs(self) -> NDArray[np.float64]:
        """Labels of the labeled rows of a two-class set as -1 and +1, (L,) float64."""
        return (2 * self.y - 1).astype(np.float64)

    def fit(self) -> Fit:
        """Return the evaluation model trained on the labeled rows; shared with the learning curve."""
        return self.evaluator.fit(self.labeled)

    def best(self, scores: FloatArray) -> IndexArray:
        """Return the batch with the highest scores; ties go to the smallest position.

        Parameters
        ----------
        scores : (U,) float, in the order of `unlabeled`; must not hold NaN
        """
        if np.isnan(scores).any():
            raise InputError(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are not numbers; expected none.")
        return self.unlabeled[best_first(scores, self.unlabeled, self.batch_size)]


Query = Callable[[State], IndexArray]
Cost = Literal["instant", "fast", "slow", "very slow"]


@dataclass(frozen=True, slots=True)
class TabularStrategy:
    """A registered strategy of the tabular benchmark.

    column : its name in the published table, "" if it has none
    cost : "instant" (no model of its own), "fast" (a few fits a query), "slow" (a hundred), "very slow" (O(U) fits)
    ordinary : the strategy of `poolwise.strategies` that it stands for, see `bridge`
    """

    name: str
    query: Query
    family: str
    paper: str
    column: str
    cost: Cost
    binary_only: bool
    single_only: bool
    ordinary: StrategySpec | None = None

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.query) or "").split("\n", 1)[0]


TABULAR: Registry[TabularStrategy] = Registry("tabular strategy")


def tabular(
    name: str,
    *,
    family: str,
    paper: str,
    column: str = "",
    cost: Cost = "fast",
    binary_only: bool = False,
    single_only: bool = False,
) -> Callable[[Query], Query]:
    """Register a function `query(state) -> (B,) int64 train positions, in order of choice`.

    Parameters
    ----------
    name : what users type
    column : heading in the published table
    binary_only : refuse data sets of more than two classes
    single_only : refuse batches of more than one item
    """

    def register(query: Query) -> Query:
        TABULAR.add(name, TabularStrategy(name, query, family, paper, column, cost, binary_only, single_only))
        return query

    return register


def check_fits(strategy: TabularStrategy, dataset: str, n_classes: int, batch_size: int) -> None:
    """Refuse what a strategy is not defined for.

    Raises
    ------
    OptionError
        If a two-class strategy meets more classes, or a one-by-one strategy a larger batch.
    """
    if strategy.binary_only and n_classes > 2:
        raise OptionError(
            f"{strategy.name} is defined for two classes only; {dataset!r} has {n_classes}. "
            "Leave the data set or the strategy out."
        )
    if strategy.single_only and batch_size > 1:
        raise OptionError(f"{strategy.name} queries one item at a time; got batch_size {batch_size}. Use 1.")
