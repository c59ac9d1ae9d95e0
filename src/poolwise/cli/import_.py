"""`poolwise import`: labels from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poolwise.cli.output import echo_json, say
from poolwise.pool import Pool


def import_labels(
    pool: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A pool directory.")],
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV, JSONL, Parquet, or a Label Studio JSON export.")
    ],
    annotator: Annotated[str, typer.Option(help="Who labeled, where the file does not say.")] = "",
    allow_unasked: Annotated[bool, typer.Option(help="Accept labels of items that were never asked for.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Record the labels of a file: columns item_id,label and optionally annotator,seconds,time.

    Example:  poolwise import birds.pool labels.csv
    """
    opened = Pool.open(pool)
    count = opened.import_labels(file, annotator=annotator, allow_unasked=allow_unasked)
    if as_json:
        echo_json({"imported": count, **opened.status().to_dict()})
    else:
        print(f"{count:,} labels recorded")
        say(opened.status().headline())
