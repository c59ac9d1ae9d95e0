"""The columns that say who an item is: id, label and group. The same for every source with a table."""

from __future__ import annotations

from dataclasses import dataclass

from poolwise.datasets.source import check_ids, class_names
from poolwise.datasets.tables import Table


@dataclass(frozen=True, slots=True)
class Columns:
    """N values of each, or None where the column was not named."""

    ids: list[str]
    groups: list[str | None]
    labels: tuple[str | None, ...] | None
    classes: tuple[str, ...] | None


def read_columns(
    table: Table,
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    ids: list[str] | None = None,
) -> Columns:
    """Read id, label and group of every row.

    Parameters
    ----------
    ids : used where no id column is named; default the row numbers from 0

    Raises
    ------
    InputError
        If a column is not there, or an id is empty or repeats.
    """
    if id_column is not None:
        ids = table.texts(id_column)
    elif ids is None:
        ids = [str(row) for row in range(table.n_rows)]
    check_ids(ids, table.where)
    groups: list[str | None] = [None] * table.n_rows
    if group_column is not None:
        groups = [group or None for group in table.texts(group_column)]
    labels: tuple[str | None, ...] | None = None
    classes: tuple[str, ...] | None = None
    if label_column is not None:
        values, known = table.labels(label_column)
        labels, classes = tuple(values), class_names(values, known)
    return Columns(ids, groups, labels, classes)
