"""CSV: one line per labeled item, UTF-8, RFC 4180.

Values are written exactly as they are, so that a join on `item_id` works in every tool. A spreadsheet
takes a cell that begins with `=`, `+`, `-` or `@` for a formula: if strangers name your files, open the
table through the spreadsheet's text import with all columns as text.
"""

from __future__ import annotations

import csv as csv_format
import io
from pathlib import Path

from poolwise.exporters.answers import COLUMNS, answer_rows
from poolwise.registry import exporter
from poolwise.store.files import write_atomic
from poolwise.store.pool import PoolStore


@exporter("csv")
def csv(store: PoolStore, path: Path, *, history: bool = False) -> Path:
    """Write the answers as CSV; `history` includes those that were corrected later."""
    text = io.StringIO(newline="")
    writer = csv_format.DictWriter(text, COLUMNS)
    writer.writeheader()
    for row in answer_rows(store, history=history):
        writer.writerow({**row, "audit": "true" if row["audit"] else "false"})
    write_atomic(path, text.getvalue().encode("utf-8"))
    return path
