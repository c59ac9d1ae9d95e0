"""`poolwise report`: one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poolwise.cli.arguments import PoolDir
from poolwise.cli.output import echo_json
from poolwise.pool import Pool


def report(
    pool: PoolDir,
    out: Annotated[Path | None, typer.Option(help="Where to write it; default: POOL/report.html.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a report that opens offline in any browser, and print its path.

    Example:  poolwise report birds.pool
    """
    path = Pool.open(pool).report(out)
    if as_json:
        echo_json({"report": str(path)})
    else:
        print(path)
