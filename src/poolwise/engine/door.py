"""Choosing a batch with several workers: what `poolwise.select(..., engine=..., workers=...)` calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from poolwise.engine import processes, ray, threads
from poolwise.engine.plan import Settings, make_plan
from poolwise.engine.sharded import Mode, needs_no_split, sharded_form
from poolwise.engine.supervise import Launch, supervised
from poolwise.errors import OptionError
from poolwise.kernels import backend
from poolwise.query import check_values, run_strategy
from poolwise.registry import ENGINES, StrategySpec
from poolwise.types import Picks, QueryContext, Selection

OFF = {"within": "all", "max_per_group": None, "stochastic": "none"}
"""Options that act on the whole pool, each with the value that does nothing."""

LAUNCHES: dict[str, Launch] = {"local": threads.launch, "processes": processes.launch, "ray": ray.launch}


def choose(
    spec: StrategySpec,
    context: QueryContext,
    *,
    engine: str,
    batch_size: int,
    seed: int,
    options: Mapping[str, Any],
    device: str | None,
    workers: int,
    address: str | None,
    rounds: int,
) -> Selection:
    """Choose a batch with several workers.

    Parameters
    ----------
    engine : "local" (threads), "processes" or "ray"
    workers : each takes a range of the rows; with fewer rows than workers, some are not started
    address : of a running Ray cluster
    rounds : 1, the same batch as one process; 2, each worker first chooses a batch among random rows, and the final
        batch is chosen among these

    A strategy that cannot be split by rows, or one with prices or an option that acts on the whole pool, is chosen by
    one of the workers alone.

    Returns
    -------
    Selection, as `query.select`; the note `workers` says how many there were.

    Raises
    ------
    OptionError
        With two rounds and an option that acts on the whole pool.
    MissingExtraError
        If torch or Ray is not installed.
    EngineError
        If workers were lost again and again.
    """
    check_settings(engine, workers, address, rounds)
    mode = mode_of(spec, context, options, rounds)

    def split(
        spec: StrategySpec, context: QueryContext, batch_size: int, seed: int, options: Mapping[str, Any]
    ) -> Picks:
        plan = make_plan(spec, context, batch_size, seed, options, device, workers, mode)
        picks = supervised(LAUNCHES[engine], plan, Settings(workers=workers, address=address))
        return Picks(picks.indices, picks.scores, picks.components, {**picks.notes, "workers": len(plan.shares)})

    if needs_no_split(spec):
        with backend.on(device):
            check_values(spec, context.arrays, context.unlabeled)
            selection = run_strategy(spec, context, batch_size=batch_size, seed=seed, options=options)
            return replace(selection, notes={**selection.notes, **backend.notes()})
    return run_strategy(spec, context, batch_size=batch_size, seed=seed, options=options, caller=split)


def mode_of(spec: StrategySpec, context: QueryContext, options: Mapping[str, Any], rounds: int) -> Mode:
    """Decide how the work is shared: split by rows where the strategy can be and nothing acts on the whole pool.

    Raises
    ------
    OptionError
        With two rounds and something that acts on the whole pool.
    """
    usual = {name: option.default for name, option in spec.lifted.items()}
    if rounds == 2:
        around = sorted(name for name in usual if options.get(name, usual[name]) != usual[name]) + sorted(context.extra)
        if around:
            raise OptionError(f"{', '.join(around)} cannot be used with two rounds. Leave it out, or use rounds=1.")
        return "rounds"
    whole = context.extra or any({**usual, **options}.get(name, off) != off for name, off in OFF.items())
    return "alone" if whole or sharded_form(spec) is None else "split"


def check_settings(engine: str, workers: int, address: str | None, rounds: int = 1) -> None:
    """Refuse numbers out of range, and an address that nobody would use."""
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise OptionError(f"workers must be a whole number of at least 1; got {workers!r}.")
    if rounds not in (1, 2):
        raise OptionError(f"rounds must be 1 (exact) or 2 (approximate, for very large pools); got {rounds!r}.")
    if address is not None and engine != "ray":
        raise OptionError(f"address {address!r} is for engine 'ray'; got engine {engine!r}. Add --engine ray.")


for _name in LAUNCHES:
    ENGINES.add(_name, partial(choose, engine=_name))
