"""Flags for what is handled around every strategy: reducers, chance, prices and limits per group."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from poolwise.datasets.tables import ENDINGS as TABLES
from poolwise.datasets.tables import Table, open_table
from poolwise.errors import InputError, OptionError
from poolwise.registry import StrategySpec, parse_settings
from poolwise.store.arrays import open_rows
from poolwise.types import Array

Within = Annotated[
    str | None,
    typer.Option(metavar="REDUCER", help="Let only a part of the items compete: seals, anchors, margin or random."),
]
Keep = Annotated[int | None, typer.Option(min=1, help="With --within: items that compete; default 10 batches.")]
MaxPerGroup = Annotated[
    int | None, typer.Option(min=1, help="At most so many items of one group (patient, video, ...) in the batch.")
]
Stochastic = Annotated[
    str | None,
    typer.Option(metavar="HOW", help="Draw the batch by the scores: power, softmax or softrank (row-wise strategies)."),
]
Beta = Annotated[float | None, typer.Option(help="With --stochastic: the larger, the closer to the plain top.")]


def all_options(spec: StrategySpec, settings: list[str] | None, **flags: Any) -> dict[str, Any]:
    """Join `--set option=value` and flags such as `--max-per-group` to the options of a query.

    Raises
    ------
    OptionError
        If an option is unknown to the strategy, or given twice with different values.
    """
    options = parse_settings(spec, settings or [])
    for name, value in flags.items():
        if value is None:
            continue
        if options.get(name, value) != value:
            flag = "--" + name.replace("_", "-")
            raise OptionError(f"{flag} {value} and --set {name}={options[name]} contradict each other; leave one out.")
        options[name] = value
    if options.get("keep") is not None and options.get("within", "all") == "all":
        raise OptionError("--keep says how many items --within lets compete; add --within seals, or leave it out.")
    noise = spec.lifted.get("stochastic")
    if options.get("beta") is not None and noise and options.get("stochastic", noise.default) == "none":
        raise OptionError("--beta belongs to --stochastic; add --stochastic power, or leave it out.")
    return options


def read_values(path: Path, usual: str) -> Array:
    """Read one value per item: an array file, or a column of a table, row i for item i.

    Parameters
    ----------
    path : .npy, .npz, .safetensors, or .csv, .tsv, .jsonl, .parquet; `FILE#NAME` chooses an array or a column
    usual : column taken where a table has several and none is named

    Returns
    -------
    (N,) numbers, or texts from a table whose column is not numeric.

    Raises
    ------
    InputError
        If the file cannot be read, or which column is meant is not clear.
    """
    file, name = _split(path)
    if file.suffix.lower() not in TABLES:
        return np.asarray(open_rows(path)[:])
    table = open_table(file)
    return numbers_or_texts(table.texts(_column(table, name, usual)))


def values_by_id(path: Path, usual: str) -> tuple[list[str], Array]:
    """Read the item ids and one other column of a table.

    Raises
    ------
    InputError
        If there is no column `item_id`, or which other column is meant is not clear.
    """
    file, name = _split(path)
    table = open_table(file)
    return table.texts("item_id"), numbers_or_texts(table.texts(_column(table, name, usual)))


def names_items(path: Path) -> bool:
    """Whether a file is a table with a column `item_id`."""
    file, _ = _split(path)
    return file.suffix.lower() in TABLES and file.is_file() and "item_id" in open_table(file).names


def numbers_or_texts(texts: list[str]) -> Array:
    """Turn texts into float64 if all are numbers (an empty one is NaN), else leave them."""
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return np.array(texts)


def _split(path: Path) -> tuple[Path, str | None]:
    if path.exists() or "#" not in path.name:
        return path, None
    file, _, name = path.name.rpartition("#")
    return path.with_name(file), name


def _column(table: Table, name: str | None, usual: str) -> str:
    if name is not None:
        return name
    others = [column for column in table.names if column != "item_id"]
    if usual in others:
        return usual
    if len(others) != 1:
        raise InputError(
            f"{table.where}: which column holds the {usual}? Columns: {', '.join(table.names)}. Say FILE#COLUMN."
        )
    return others[0]
