"""Images named in a column of a CSV, JSONL or Parquet file, or stored inside a Parquet file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from poolwise.datasets.columns import read_columns
from poolwise.datasets.source import Source, check_ids
from poolwise.datasets.tables import Table, open_table
from poolwise.errors import InputError
from poolwise.types import Item

USUAL_COLUMNS = ("image", "path", "file", "filename", "file_name", "image_path", "filepath")
"""Names tried, in this order, where no image column is named."""


def image_list(
    table: Any,
    image_column: str | None = None,
    *,
    folder: str | Path | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
) -> Source:
    """List the images that a table names, in the order of its rows.

    Parameters
    ----------
    table : path of a .csv, .tsv, .jsonl or .parquet file, or a data frame
    image_column : paths, or encoded images (Parquet); default the only column of `USUAL_COLUMNS`
    folder : what paths are relative to; default the folder of the table
    id_column : unique ids; default the path as written, or the row number for stored images
    label_column, group_column : class name and group of each row

    Returns
    -------
    A source of kind "image_list", or "image_rows" where the images are inside the table.

    Raises
    ------
    InputError
        If the table cannot be read, a column is not there, an id repeats, or a file is missing.
    """
    opened = open_table(table)
    column = image_column or _usual_column(opened)
    if opened.holds_bytes(column):
        return _rows_source(opened, column, id_column, label_column, group_column)
    base = Path(folder).expanduser().absolute() if folder else opened.path.parent if opened.path else Path.cwd()
    paths = opened.texts(column)
    _check_files(paths, base, opened.where)
    ids = [_posix(path) for path in paths]
    who = read_columns(opened, id_column=id_column, label_column=label_column, group_column=group_column, ids=ids)
    return Source(
        kind="image_list",
        items=tuple(Item(index=i, item_id=who.ids[i], uri=path, group_id=who.groups[i]) for i, path in enumerate(ids)),
        settings={
            "kind": "image_list",
            "folder": str(base),
            "file": None if opened.path is None else str(opened.path),
            "image_column": column,
        },
        classes=who.classes,
        labels=who.labels,
    )


def image_paths(paths: Sequence[str | Path]) -> Source:
    """List images given as a sequence of paths, in the order given; relative ones to the current folder.

    Raises
    ------
    InputError
        If the sequence is empty, a path repeats, or a file is missing.
    """
    if not len(paths):
        raise InputError("images=[] is empty; expected at least one path.")
    names = [_posix(str(path)) for path in paths]
    _check_files(names, Path.cwd(), "images")
    check_ids(names, "images")
    return Source(
        kind="image_list",
        items=tuple(Item(index=i, item_id=name, uri=name) for i, name in enumerate(names)),
        settings={"kind": "image_list", "folder": str(Path.cwd()), "file": None, "image_column": None},
    )


def _rows_source(
    table: Table, column: str, id_column: str | None, label_column: str | None, group_column: str | None
) -> Source:
    who = read_columns(table, id_column=id_column, label_column=label_column, group_column=group_column)
    return Source(
        kind="image_rows",
        items=tuple(
            Item(index=i, item_id=who.ids[i], uri=f"#{i}", group_id=who.groups[i]) for i in range(table.n_rows)
        ),
        settings={"kind": "image_rows", "file": str(table.path), "image_column": column},
        classes=who.classes,
        labels=who.labels,
    )


def _usual_column(table: Table) -> str:
    there = [name for name in USUAL_COLUMNS if name in table.names]
    if len(there) != 1:
        raise InputError(
            f"{table.where}: which column names the images? Columns: {', '.join(table.names)}. Say image_column=COLUMN."
        )
    return there[0]


def _check_files(paths: list[str], base: Path, where: str) -> None:
    for row, path in enumerate(paths, start=1):
        if not path.strip():
            raise InputError(f"{where}: row {row} names no image. Remove the row, or fill in the path.")
        if "://" in path:
            raise InputError(f"{where}: row {row} is the address {path!r}; expected a file. Download the images first.")
    missing = [path for path in paths if not (base / path).is_file()]
    if missing:
        names = ", ".join(repr(path) for path in missing[:3])
        raise InputError(
            f"{where}: {len(missing)} of {len(paths)} images are not there, first {names}; looked in {str(base)!r}. "
            "Paths are relative to the table; move it, or correct them."
        )


def _posix(path: str) -> str:
    return path.replace(os.sep, "/")
