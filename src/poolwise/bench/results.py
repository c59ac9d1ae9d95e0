"""Rows of a benchmark, one for each round of each run, and the Parquet file that keeps them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from poolwise.errors import InputError

SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("strategy", pa.string()),
        ("strategy_name", pa.string()),
        ("options", pa.string()),
        ("oracle", pa.bool_()),
        ("seed", pa.int64()),
        ("round", pa.int64()),
        ("n_labeled", pa.int64()),
        ("n_foreign", pa.int64()),
        ("accuracy", pa.float64()),
        ("mean_class_accuracy", pa.float64()),
        ("log_loss", pa.float64()),
        ("class_entropy", pa.float64()),
        ("imbalance_ratio", pa.float64()),
        ("classes_seen", pa.int64()),
        ("seconds_query", pa.float64()),
        ("seconds_query_cpu", pa.float64()),
        ("seconds_fit", pa.float64()),
        ("temperature", pa.float64()),
        ("strength", pa.float64()),
        ("chosen_by", pa.string()),
        ("labeled_digest", pa.string()),
        ("expected_gain", pa.float64()),
    ]
)
"""`seconds_query` (clock), `seconds_query_cpu` (processor) and `chosen_by` tell how the labels bought last were chosen;
`labeled_digest` which items were asked, as a set. `n_labeled` counts what was paid for; `n_foreign` of them were
answered "not of interest". `expected_gain` is what a choice among strategies expected of the labels bought last, in its
own units."""
ADDED = {"n_foreign": 0, "expected_gain": None}
"""Columns that older files lack, and what their rows then hold."""
META = b"poolwise"


@dataclass(frozen=True, slots=True)
class Results:
    """All rows of a benchmark, in the order datasets, strategies, seeds, rounds.

    rows : dictionaries with the keys of `SCHEMA`
    settings : the suite, and what the data were (digests)
    versions : of what the numbers depend on
    failures : (dataset, strategy, seed, message) of runs that broke; never written to a file
    """

    rows: tuple[dict[str, Any], ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[tuple[str, str, int, str], ...] = ()

    def column(self, name: str, **where: Any) -> list[Any]:
        """List one column of the rows where the given columns have the given values."""
        return [row[name] for row in self.rows if all(row[key] == value for key, value in where.items())]

    def datasets(self) -> list[str]:
        """List the data sets in order."""
        return list(dict.fromkeys(row["dataset"] for row in self.rows))

    def strategies(self, dataset: str) -> list[str]:
        """List the strategies that ran on a data set, in order."""
        return list(dict.fromkeys(row["strategy"] for row in self.rows if row["dataset"] == dataset))

    def curves(self, dataset: str, strategy: str) -> dict[int, list[dict[str, Any]]]:
        """Collect the rows of each seed in the order of the rounds."""
        out: dict[int, list[dict[str, Any]]] = {}
        for row in self.rows:
            if row["dataset"] == dataset and row["strategy"] == strategy:
                out.setdefault(row["seed"], []).append(row)
        return {seed: sorted(rows, key=lambda row: row["round"]) for seed, rows in sorted(out.items())}


def write_results(results: Results, path: str | Path) -> Path:
    """Write the rows as Parquet, settings and versions as metadata; whole or not at all."""
    path = Path(path)
    meta = {"settings": results.settings, "versions": results.versions}
    table = pa.Table.from_pylist(list(results.rows), SCHEMA).replace_schema_metadata(
        {META: json.dumps(meta, sort_keys=True)}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.writing")
    pq.write_table(table, temporary, compression="zstd")
    temporary.replace(path)
    return path


def read_results(path: str | Path) -> Results:
    """Read a results file, or `results.parquet` of an output folder.

    Raises
    ------
    InputError
        If there is none, or it is not a results file.
    """
    file = Path(path)
    file = file / "results.parquet" if file.is_dir() else file
    if not file.is_file():
        raise InputError(f"no benchmark results at {str(path)!r}; expected a .parquet file made by `poolwise bench`.")
    try:
        table = pq.read_table(file)
        missing = sorted(set(SCHEMA.names) - set(table.column_names) - set(ADDED))
        if missing:
            raise ValueError(f"it lacks the columns {', '.join(missing)}")
        meta = json.loads((table.schema.metadata or {}).get(META, b"{}"))
    except (pa.ArrowException, ValueError, OSError) as error:
        raise InputError(f"{str(path)!r} is not a file of benchmark results: {str(error).rstrip('.')}.") from error
    return Results(tuple(ADDED | row for row in table.to_pylist()), meta.get("settings", {}), meta.get("versions", {}))


def write_atomic(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.writing")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
