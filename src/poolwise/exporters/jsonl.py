"""JSON lines: one object per labeled item, UTF-8."""

from __future__ import annotations

import json
from pathlib import Path

from poolwise.exporters.answers import answer_rows
from poolwise.registry import exporter
from poolwise.store.files import write_atomic
from poolwise.store.pool import PoolStore


@exporter("jsonl")
def jsonl(store: PoolStore, path: Path, *, history: bool = False) -> Path:
    """Write the answers as JSON lines; `history` includes those that were corrected later."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in answer_rows(store, history=history)]
    write_atomic(path, "".join(lines).encode("utf-8"))
    return path
