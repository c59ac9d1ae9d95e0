"""Strategies of `poolwise.strategies`, and those of other packages, in the tabular benchmark.

They get the scaled features as `embeddings`, and the answers of a model trained on the labeled rows as `logits`. That
model is the one that is evaluated, as Lu, Li & Lin, arXiv 2306.08954, found that a query model should be: its decision
values are read as log odds. A strategy that reads the weights of a linear model, or samples around them, gets those of
the linear probe instead, and its logits with them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolwise.bench.tabular.registry import TABULAR, Query, State, TabularStrategy
from poolwise.errors import OptionError, UnknownNameError, unknown_name
from poolwise.query import choose
from poolwise.registry import STRATEGIES, StrategySpec
from poolwise.train.learners import LinearProbe
from poolwise.types import IndexArray

FROM_HEAD = {"head_weight", "head_bias", "prob_samples"}
"""Arrays that only a linear model has."""
FROM_MODEL = {"logits", "probs"}
AVAILABLE = {"embeddings", "labels"} | FROM_MODEL | FROM_HEAD


def find_strategy(name: str) -> TabularStrategy:
    """Look a name up among the tabular strategies, and then among the ordinary ones.

    What an ordinary strategy costs is not known, so it counts as slow.

    Raises
    ------
    UnknownNameError
        If neither has it; the nearest names of both are told.
    """
    if name in TABULAR:
        return TABULAR[name]
    if name not in STRATEGIES:
        text = str(unknown_name("strategy", name, {*TABULAR, *STRATEGIES})).partition("Known: ")[0]
        raise UnknownNameError(
            f"{text}Made for this benchmark: {', '.join(TABULAR)}; `poolwise strategies` lists the others."
        )
    spec = STRATEGIES[name]
    return TabularStrategy(name, _query_of(spec), spec.family, spec.paper, "", "slow", False, False, spec)


def check_arrays(entry: TabularStrategy) -> None:
    """Refuse an ordinary strategy that needs what a table of numbers does not give.

    Raises
    ------
    OptionError
        If it reads true labels, or an array that nobody makes here.
    """
    spec = entry.ordinary
    if spec is None:
        return
    if spec.oracle:
        raise OptionError(f"{entry.name} reads the true labels; expected a strategy. Leave it out, or use bso.")
    lacking = sorted(set(spec.needs) - AVAILABLE)
    if lacking:
        raise OptionError(
            f"{entry.name} needs {', '.join(lacking)}; the tabular benchmark has {', '.join(sorted(AVAILABLE))} only. "
            "Leave it out."
        )


def _query_of(spec: StrategySpec) -> Query:
    def query(state: State) -> IndexArray:
        history = state.memo.setdefault("history", [])
        selection = choose(
            spec,
            {"embeddings": state.x} | _answers(spec, state),
            {
                "labeled": state.labeled,
                "unlabeled": state.unlabeled,
                "labels": state.labels,
                "history": tuple(history),
            },
            batch_size=state.batch_size,
            seed=int(state.rng.integers(2**62)),
            options={},
            trusted=True,
        )
        history.append(selection)
        return selection.indices

    query.__doc__ = spec.function.__doc__
    return query


def _answers(spec: StrategySpec, state: State) -> dict[str, Any]:
    """Arrays of a model trained on the labeled rows, as far as the strategy reads any."""
    named = {*spec.needs, *spec.uses}
    if named & FROM_HEAD:
        head = LinearProbe().fit(
            state.x[state.labeled],
            state.y,
            state.n_classes,
            seed=int(state.rng.integers(2**62)),
            start=state.memo.get("head"),
        )
        state.memo["head"] = head
        return {"head_weight": head.head_weight, "head_bias": head.head_bias}
    return {"logits": log_odds(state.fit().decision())} if named & FROM_MODEL else {}


def log_odds(decision: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn decision values into one column for each class: (n,) to (n, 2), half for one and half against the other."""
    return decision if decision.ndim == 2 else np.column_stack([-decision, decision]) / 2
