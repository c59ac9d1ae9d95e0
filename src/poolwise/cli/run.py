"""`poolwise run`: rounds until the budget is spent, with a simulated oracle or waiting for people."""

from __future__ import annotations

from typing import Annotated

import typer

from poolwise.cli.arguments import PoolDir, Setting
from poolwise.cli.audit_options import AuditShare, NoAudit, audit_share
from poolwise.cli.output import echo_json, echo_table, say, show_progress
from poolwise.cli.query import DEFAULT_STRATEGY
from poolwise.pool import Pool
from poolwise.registry import STRATEGIES, parse_settings


def run(
    pool: PoolDir,
    strategy: Annotated[str, typer.Option(help="A name from `poolwise strategies`.")] = DEFAULT_STRATEGY,
    batch_size: Annotated[int, typer.Option(min=1, help="Items per round.")] = 100,
    budget: Annotated[int, typer.Option(min=1, help="Stop when so many items are labeled.")] = 1000,
    oracle: Annotated[
        str | None,
        typer.Option(
            help="Simulate: a file with item_id,label, or `source` for class folders or the data set's own labels."
        ),
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Simulation: share of the pool kept aside as the test set.")
    ] = 0.2,
    first: Annotated[str, typer.Option(help="Strategy of the first batch, if the other needs labels.")] = "typiclust",
    wait: Annotated[bool, typer.Option(help="Without an oracle: wait for labels instead of stopping.")] = False,
    setting: Setting = None,
    audit: AuditShare = None,
    no_audit: NoAudit = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Query, label, retrain and evaluate, round after round; a stopped run continues where it was.

    Example:  poolwise run birds.pool --oracle source --strategy margin --batch-size 50 --budget 500
    """
    opened = Pool.open(pool)
    options = parse_settings(STRATEGIES[strategy], setting or [])
    with show_progress():
        finished = opened.run(
            strategy,
            batch_size=batch_size,
            budget=budget,
            oracle=oracle,
            held_out=held_out,
            first=first,
            wait=wait,
            options=options,
            audit=audit_share(audit, no_audit),
        )
    rows = opened.history()
    if as_json:
        echo_json({"finished": finished, "rounds": rows})
    else:
        echo_table("", rows)
    if not finished:
        now = opened.status()
        say(f"{now.n_waiting:,} items wait for a label: poolwise import {pool} labels.csv, then run this again")
