"""`poolwise export`: labels, or tasks for a labeling tool, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poolwise.cli.arguments import PoolDir
from poolwise.cli.output import echo_json, say
from poolwise.pool import ENDINGS, Pool


def export(
    pool: PoolDir,
    out: Annotated[Path, typer.Argument(help="File to write.")],
    format_: Annotated[
        str | None, typer.Option("--format", help="csv, jsonl, parquet or label_studio; default: by the file's ending.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the labels so far, or (label_studio) tasks for the items that wait for a label.

    Example:  poolwise export birds.pool labels.csv
    """
    path = Pool.open(pool).export(out, format=format_)
    if as_json:
        echo_json({"file": str(path)})
    else:
        print(path)
        if (format_ or ENDINGS.get(out.suffix)) == "label_studio":
            say(f"Labeling interface with the classes, for the project's settings: {path.with_suffix('.xml')}")
