"""`poolwise audit`: what the random audit items prove, in plain words."""

from __future__ import annotations

from typing import Annotated

import typer

from poolwise.cli.arguments import PoolDir
from poolwise.cli.output import echo_json, show_progress
from poolwise.pool import Pool


def audit(
    pool: PoolDir,
    target: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Accuracy that would be enough, such as 0.9.")
    ] = None,
    worth: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Gain in accuracy that is worth the next labels, such as 0.005."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how good the model is now, what the strategy saved against random, and whether to stop.

    Needs batches that carried a random audit slice: `poolwise query birds.pool --audit 0.05`. Intervals hold however
    often you look, and nothing is claimed that they do not prove.

    Example:  poolwise audit birds.pool --target 0.9
    """
    opened = Pool.open(pool)
    with show_progress():
        found = opened.audit(target=target, worth=worth)
    if as_json:
        echo_json(found.to_dict())
    else:
        print(found.text())
