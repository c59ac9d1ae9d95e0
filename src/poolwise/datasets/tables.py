"""Reading columns of CSV, TSV, JSONL and Parquet files, and of data frames, without guessing at types.

Text files are read as text: an id "001" stays "001".
"""

from __future__ import annotations

import csv
import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from poolwise.errors import InputError

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq")


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length.

    where : how messages call it
    path : the file, or None for a data frame
    columns : name -> values, for text files; loaded columns only
    """

    where: str
    path: Path | None
    names: tuple[str, ...]
    n_rows: int
    data: Any

    def column(self, name: str) -> list[Any]:
        """Read one column; None where a value is missing.

        Raises
        ------
        InputError
            If there is no such column; the nearest names are suggested.
        """
        self.check(name)
        if isinstance(self.data, dict):
            return list(self.data[name])
        if isinstance(self.data, pq.ParquetFile):
            return list(self.data.read(columns=[name]).column(0).to_pylist())
        return [None if value is None or value != value else value for value in self.data[name].tolist()]

    def check(self, name: str) -> None:
        """Refuse a column that is not there, naming the nearest ones."""
        if name not in self.names:
            near = difflib.get_close_matches(name, self.names, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
            raise InputError(f"{self.where} has no column {name!r}; {hint}Columns: {', '.join(self.names)}.")

    def texts(self, name: str) -> list[str]:
        """Read one column as text; whole numbers stored as floats lose their ".0", missing is ""."""
        values = self.column(name)
        numbers = [value for value in values if value is not None]
        whole = bool(numbers) and all(isinstance(value, float) and value.is_integer() for value in numbers)
        return ["" if value is None else str(int(value)) if whole else _text(value) for value in values]

    def labels(self, name: str) -> tuple[list[str | None], list[str] | None]:
        """Read one column as class names, and their order if the file states it; missing or "" is None."""
        names = self._stated_names(name)
        texts = self.texts(name)
        if names is None or not all(text == "" or (text.isdecimal() and int(text) < len(names)) for text in texts):
            return [text or None for text in texts], None
        return [names[int(text)] if text else None for text in texts], names

    def holds_bytes(self, name: str) -> bool:
        """Say whether a column holds encoded images rather than paths; Parquet only."""
        self.check(name)
        if not isinstance(self.data, pq.ParquetFile):
            return False
        kind = self.data.schema_arrow.field(name).type
        if pa.types.is_struct(kind):
            return int(kind.get_field_index("bytes")) >= 0
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    def _stated_names(self, name: str) -> list[str] | None:
        """Find the names of integer classes in the metadata of a Parquet file.

        Two conventions are known: a JSON list under `label_names`, and the `huggingface` features.
        """
        if not isinstance(self.data, pq.ParquetFile):
            return None
        schema = self.data.schema_arrow
        if not pa.types.is_integer(schema.field(name).type):
            return None
        metadata = schema.metadata or {}
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        stated = features.get(name, {}).get("names") or json.loads(metadata.get(b"label_names", b"null"))
        return [str(n) for n in stated] if isinstance(stated, list) else None


def open_table(table: Any) -> Table:
    """Open a CSV, TSV, JSONL or Parquet file by its ending, or a pandas data frame.

    Raises
    ------
    InputError
        If the file is missing, empty, not UTF-8, malformed, or of another kind.
    """
    if hasattr(table, "columns") and hasattr(table, "iloc"):
        names = tuple(str(name) for name in table.columns)
        return _not_empty(Table("the data frame", None, names, len(table), table.set_axis(list(names), axis=1)))
    path = Path(table).expanduser().absolute()
    if not path.is_file():
        raise InputError(f"table {str(table)!r} is not a file; expected a CSV, JSONL or Parquet file. Check the path.")
    ending, where = path.suffix.lower(), f"table {path.name!r}"
    if ending in (".parquet", ".pq"):
        try:
            file = pq.ParquetFile(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{where} is not a Parquet file ({error}). Write it again.") from error
        return _not_empty(Table(where, path, tuple(file.schema_arrow.names), file.metadata.num_rows, file))
    if ending not in ENDINGS:
        raise InputError(f"{where} ends in {ending!r}; expected one of {', '.join(ENDINGS)}.")
    try:
        columns = _read_jsonl(path, where) if ending in (".jsonl", ".ndjson") else _read_csv(path, where, ending)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where} is not UTF-8 (byte {error.start}: {error.reason}). "
            f"Convert it: `iconv -f latin1 -t utf-8 {path.name} > utf8{ending}`."
        ) from error
    n_rows = len(next(iter(columns.values()), ()))
    return _not_empty(Table(where, path, tuple(columns), n_rows, columns))


def _not_empty(table: Table) -> Table:
    if table.n_rows == 0:
        raise InputError(f"{table.where} has no rows; expected one row per item.")
    return table


def _text(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")  # JSON may hold half a pair


def _read_csv(path: Path, where: str, ending: str) -> dict[str, list[str]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a text may be longer than the default 131072
    with path.open(newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        file.seek(0)
        delimiter = "\t" if ending == ".tsv" else max(",;\t|", key=first.count)
        reader = csv.reader(file, delimiter=delimiter)
        try:
            names = next(reader, [])
            rows = []
            for row in reader:
                if len(row) == len(names):
                    rows.append(row)
                elif row:
                    raise InputError(
                        f"{where}, line {reader.line_num}: expected {len(names)} fields ({', '.join(names)}), "
                        f"got {len(row)}. Quote fields that contain {delimiter!r}."
                    )
        except csv.Error as error:
            raise InputError(f"{where}, line {reader.line_num}: {error}. Save it as plain CSV.") from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{where} names column {twice[0]!r} twice. Rename one of them in the first line.")
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return {name: list(values) for name, values in zip(names, columns, strict=True)}


def _read_jsonl(path: Path, where: str) -> dict[str, list[Any]]:
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{where}, line {number} is not JSON ({error}). Write one object a line.") from error
            if not isinstance(row, dict):
                raise InputError(f"{where}, line {number} holds a {type(row).__name__}; expected one object a line.")
            rows.append(row)
    names: Sequence[str] = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}
