"""A text column of a CSV, JSONL or Parquet file."""

from __future__ import annotations

from typing import Any

from poolwise.datasets.columns import read_columns
from poolwise.datasets.source import Source
from poolwise.datasets.tables import open_table
from poolwise.types import Item


def table_text(
    table: Any,
    text: str,
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
) -> Source:
    """List the rows of a table as texts, in the order of the file.

    Parameters
    ----------
    table : path of a .csv, .tsv, .jsonl or .parquet file, or a data frame
    text : name of the column with the texts; a missing value is the empty text
    id_column : unique ids; default the row numbers from 0
    label_column, group_column : class name and group of each row

    Returns
    -------
    A source of kind "table_text"; the text is inside each item.

    Raises
    ------
    InputError
        If the file cannot be read, a column is not there, or an id repeats.
    """
    opened = open_table(table)
    texts = opened.texts(text)
    who = read_columns(opened, id_column=id_column, label_column=label_column, group_column=group_column)
    return Source(
        kind="table_text",
        items=tuple(
            Item(index=i, item_id=who.ids[i], text=texts[i], group_id=who.groups[i]) for i in range(opened.n_rows)
        ),
        settings={"kind": "table_text", "file": None if opened.path is None else str(opened.path), "text": text},
        classes=who.classes,
        labels=who.labels,
    )
