"""`poolwise release`: take back questions that nobody will answer."""

from __future__ import annotations

from typing import Annotated

import typer

from poolwise.cli.arguments import PoolDir
from poolwise.cli.output import counted, echo_json
from poolwise.pool import Pool


def release(
    pool: PoolDir,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Give the items that wait for a label back to the pool, so that they can be asked for again.

    Example:  poolwise release birds.pool
    """
    count = Pool.open(pool).release()
    if as_json:
        echo_json({"released": count})
    else:
        print(f"{counted(count, 'item')} given back")
