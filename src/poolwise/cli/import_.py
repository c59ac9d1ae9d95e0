"""`poolwise import`: labels from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from poolwise.cli.arguments import PoolDir
from poolwise.cli.output import counted, echo_json, say
from poolwise.exporters.read_labels import LabelRow, read_labels
from poolwise.pool import Pool


def import_labels(
    pool: PoolDir,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, JSONL, Parquet, or a Label Studio JSON export.")],
    annotator: Annotated[str, typer.Option(help="Who labeled, where the file does not say.")] = "",
    allow_unasked: Annotated[bool, typer.Option(help="Accept labels of items that were never asked for.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Record the labels of a file: columns item_id,label and optionally annotator,seconds,time.

    Example:  poolwise import birds.pool labels.csv
    """
    opened = Pool.open(pool)
    known = opened.classes
    count = opened.import_labels(file, annotator=annotator, allow_unasked=allow_unasked)
    new = opened.classes[len(known) :]
    for line in (*about_new_classes(known, new), *about_contradictions(read_labels(file))):
        say(line)
    if as_json:
        echo_json({"imported": count, "new_classes": new, **opened.status().to_dict()})
    else:
        print(f"{counted(count, 'answer')} recorded")
        say(opened.status().headline())


def about_new_classes(known: Sequence[str], new: Sequence[str]) -> list[str]:
    """Say which classes the pool did not have before, and which of them look like slips of the pen."""
    lines = [f"New classes: {', '.join(map(repr, new))}"] if known and new else []
    by_folded: dict[str, str] = {}
    for name in (*known, *new):
        first = by_folded.setdefault(" ".join(name.casefold().split()), name)
        if first != name and name in new:
            lines.append(
                f"{name!r} and {first!r} count as two classes; if that is a slip, correct the file, import again"
            )
    return lines


def about_contradictions(rows: Sequence[LabelRow]) -> list[str]:
    """Say which items a file gives different labels, as two annotators or a slip of the pen do."""
    labels: dict[str, list[str]] = {}
    for row in rows:
        labels.setdefault(row.item_id, []).append(row.label)
    differ = {item: given for item, given in labels.items() if len(set(given)) > 1}
    if not differ:
        return []
    item, given = next(iter(differ.items()))
    return [
        f"{counted(len(differ), 'item')} with different labels in this file, such as {item!r} "
        f"({', '.join(map(repr, given))}): all are kept, the last counts"
    ]
