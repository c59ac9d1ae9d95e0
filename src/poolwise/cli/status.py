"""`poolwise status`: how far a pool is, in plain words."""

from __future__ import annotations

from typing import Annotated

import typer

from poolwise.cli.arguments import PoolDir
from poolwise.cli.output import echo_json
from poolwise.pool import Pool


def status(
    pool: PoolDir,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how many items are labeled, what is waiting, how good the model is, and what to do next.

    Example:  poolwise status birds.pool
    """
    now = Pool.open(pool).status()
    if as_json:
        echo_json(now.to_dict())
    else:
        print(now.text())
