"""Parquet: the answers as a typed table."""

from __future__ import annotations

import io
from pathlib import Path

from poolwise.exporters.answers import COLUMNS, answer_rows
from poolwise.registry import exporter
from poolwise.store.files import write_atomic
from poolwise.store.pool import PoolStore


@exporter("parquet")
def parquet(store: PoolStore, path: Path, *, history: bool = False) -> Path:
    """Write the answers as Parquet; `history` includes those that were corrected later."""
    import pyarrow
    import pyarrow.parquet

    text = pyarrow.string()
    number, truth = pyarrow.float64(), pyarrow.bool_()
    types = {"seconds": number, "round": pyarrow.int64(), "audit": truth, "draw_probability": number}
    schema = pyarrow.schema([(name, types.get(name, text)) for name in COLUMNS])
    table = pyarrow.Table.from_pylist(answer_rows(store, history=history), schema=schema)
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    write_atomic(path, buffer.getbuffer())
    return path
