"""What every verb prints, and where: results to stdout, progress to stderr, errors as one line."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from poolwise.progress import listening
from poolwise.types import Selection, plain

STDERR = Console(stderr=True)


def echo_json(value: Any) -> None:
    """Print one JSON document to stdout; NaN and infinity become null."""
    sys.stdout.write(json.dumps(plain(value), ensure_ascii=False, allow_nan=False) + "\n")


def echo_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as CSV to stdout; a column is there if any row has it, and empty where a row does not."""
    if rows:
        writer = csv.DictWriter(sys.stdout, fieldnames=columns_of(rows), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in rows)


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the keys of all rows, in the order of their first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))


def echo_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a table for people to stdout; numbers are aligned right, and what a row does not have is a dash."""
    if not rows:
        return
    table = Table(
        title=title or None,
        title_justify="left",
        min_width=len(title),  # a title wider than its table would be folded
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    columns = columns_of(rows)
    for key in columns:
        value = next((row[key] for row in rows if row.get(key) is not None), None)
        table.add_column(key, justify="right" if isinstance(value, int | float) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(in_words(row.get(key)) for key in columns))
    echo_rich(table)


def width_of_output() -> int:
    """Columns of stdout; 160 where it is no terminal."""
    return Console().width if sys.stdout.isatty() else 160


def echo_rich(*tables: Table) -> None:
    """Print tables for people to stdout; 160 columns wide where stdout is no terminal."""
    console = Console(width=width_of_output(), highlight=False, markup=False)
    for table in tables:
        console.print(table)


def in_words(value: Any) -> str:
    """Show one value in a table cell."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def counted(n: int, thing: str) -> str:
    """Write a number of things, the last word in the plural unless there is one."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def say(text: str) -> None:
    """Tell a person something on stderr, so that stdout stays machine-readable."""
    STDERR.print(text, markup=False, highlight=False, soft_wrap=True)


def tell_of_workers(selection: Selection, workers: int) -> None:
    """Say where one of several workers chose alone."""
    if workers > 1 and len(selection) > 1 and selection.notes.get("workers") == 1:
        say(f"{selection.strategy} as asked for cannot be split by rows: one of {workers} workers chose the batch.")


@contextmanager
def show_progress() -> Iterator[None]:
    """Draw a bar with the time left for everything that announces progress, when stderr is a terminal.

    Whatever a library prints meanwhile (Ray tells of a lost worker on stdout) goes to stderr too.
    """
    if not STDERR.is_terminal:
        with redirect_stdout(sys.stderr):
            yield
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=STDERR, transient=True) as progress:
        bars: dict[str, TaskID] = {}

        def listen(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done, total=total)
            if done >= total:
                progress.remove_task(bars.pop(what))

        with listening(listen), redirect_stdout(sys.stderr):
            yield
