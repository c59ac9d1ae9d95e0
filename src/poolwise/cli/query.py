"""`poolwise query`: the next batch to label, recorded as asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from poolwise.cli.arguments import Address, Device, Engine, PoolDir, Rounds, Setting, Workers
from poolwise.cli.around import (
    Beta,
    Keep,
    MaxPerGroup,
    Stochastic,
    Within,
    all_options,
    names_items,
    read_values,
    values_by_id,
)
from poolwise.cli.audit_options import AuditShare, NoAudit, audit_share, tell_of_audit
from poolwise.cli.output import echo_csv, echo_json, say, show_progress, tell_of_workers
from poolwise.errors import InputError
from poolwise.pool import Pool
from poolwise.registry import STRATEGIES
from poolwise.reserve import for_annotators
from poolwise.types import Array

DEFAULT_STRATEGY = "auto"


def query(
    pool: PoolDir,
    strategy: Annotated[str, typer.Option(help="A name from `poolwise strategies`.")] = DEFAULT_STRATEGY,
    batch_size: Annotated[int, typer.Option(min=1, help="Items to ask for.")] = 100,
    setting: Setting = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Default: the pool's seed and the batch number.")] = None,
    ood: Annotated[
        str | None,
        typer.Option(metavar="DETECTOR", help="Keep items back that this detector flags as of no class of interest."),
    ] = None,
    max_per_group: MaxPerGroup = None,
    costs: Annotated[
        Path | None,
        typer.Option(help="Prices of all items, kept by the pool: a table with item_id and cost, or an (N,) array."),
    ] = None,
    no_costs: Annotated[bool, typer.Option("--no-costs", help="Forget the prices that the pool keeps.")] = False,
    within: Within = None,
    keep: Keep = None,
    stochastic: Stochastic = None,
    beta: Beta = None,
    audit: AuditShare = None,
    no_audit: NoAudit = False,
    device: Device = None,
    engine: Engine = "local",
    workers: Workers = 1,
    address: Address = None,
    rounds: Rounds = 1,
    explain: Annotated[bool, typer.Option("--explain", help="Say on stderr why these items.")] = False,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Ask for nothing; print again what still waits for a label.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of CSV.")] = False,
) -> None:
    """Choose the next batch to label, record it as asked, and print it.

    --ood takes a detector: answers, class_cosine, energy, knn, mahalanobis, max_logit, max_prob or
    relative_mahalanobis. Answers "not of interest" teach it which items are foreign.

    --max-per-group counts by the groups of the pool's items (--group-column when they were listed). With --costs every
    strategy prefers what is worth its price, now and in later queries.

    With an audit slice the CSV leaves out scores, so that it can be handed to annotators; --json marks its items.

    Example:  poolwise query birds.pool --strategy typiclust --batch-size 50 > batch.csv
    """
    opened = Pool.open(pool)
    if waiting:
        rows = opened.waiting()
        if as_json:
            echo_json({"batch": rows})
        else:
            echo_csv(for_annotators(rows))
        return
    around = {"within": within, "keep": keep, "max_per_group": max_per_group, "stochastic": stochastic, "beta": beta}
    options = all_options(STRATEGIES[strategy], setting, **around)
    if costs is not None or no_costs:
        opened.set_costs(None if costs is None else prices(opened, costs))
    with show_progress():
        share = audit_share(audit, no_audit)
        selection = opened.query(
            strategy,
            batch_size=batch_size,
            seed=seed,
            audit=share,
            ood=ood,
            device=device,
            engine=engine,
            workers=workers,
            address=address,
            rounds=rounds,
            **options,
        )
    tell_of_audit(selection)
    tell_of_workers(selection, workers)
    if device is not None:
        say(f"device {selection.notes['device']}")
    for name, why in selection.notes.items():
        if name.startswith("stale_"):
            say(f"{name.removeprefix('stale_')} not used: {why}")
    if explain:
        say(selection.explain())
    if as_json:
        echo_json(selection.to_dict())
    else:
        echo_csv(for_annotators(selection.rows()))


def prices(pool: Pool, path: Path) -> Array:
    """Read the price of every item of a pool.

    Raises
    ------
    InputError
        If a table names an item twice or leaves one out; `UnknownNameError` if one is not in the pool.
    """
    if not names_items(path):
        return read_values(path, "cost")
    ids, values = values_by_id(path, "cost")
    at = pool.store.index_of(ids)
    left_out = np.setdiff1d(np.arange(pool.n_items), at)
    if len(left_out) or len(np.unique(at)) != len(at):
        what = f"no price for item {pool.store.item_ids(left_out[:1])[0]!r}" if len(left_out) else "an item twice"
        raise InputError(f"{path.name!r} has {what}; expected one row for each of {pool.n_items} items. Complete it.")
    ordered = np.empty_like(values)
    ordered[at] = values
    return ordered
