"""Read labels from files: CSV, JSON lines, Parquet, and what Label Studio exports as JSON.

Columns: `item_id` and `label`, and optionally `annotator`, `seconds`, `time`; others are ignored.
A row without a label is an item that nobody has answered yet and is left out.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from poolwise.errors import InputError
from poolwise.exporters.read_label_studio import is_label_studio, label_studio_rows

REQUIRED = ("item_id", "label")
SEPARATORS = ",;\t|"


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One answer from a file.

    item_id : the user's own key
    label : class name, or `types.SKIP` / `types.NOT_OF_INTEREST`
    seconds : time spent, >= 0, or None
    time : ISO 8601 in UTC, or "" where the file has none; times without a zone count as UTC
    """

    item_id: str
    label: str
    annotator: str = ""
    seconds: float | None = None
    time: str = ""


def read_labels(path: str | Path) -> list[LabelRow]:
    """Read the labels of a file, in its order; the ending says which kind it is.

    `.csv`, `.tsv`, `.txt`: a header line, separated by comma, semicolon, tab or bar, in UTF-8 (with or
    without byte order mark) or UTF-16 with one. `.jsonl`, `.ndjson`: one object per line. `.json`: a list of
    objects, or an export of Label Studio. `.parquet`.

    Raises
    ------
    InputError
        Names the file, the line and what was expected: missing column, empty file, unknown encoding or
        ending, a row without item_id, a number or time that cannot be read, no label at all.
    """
    path = Path(path)
    readers = {
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".txt": _read_csv,
        ".jsonl": _read_jsonl,
        ".ndjson": _read_jsonl,
        ".json": _read_json,
        ".parquet": _read_parquet,
    }
    if path.suffix.lower() not in readers:
        raise InputError(
            f"{path.name!r}: cannot tell how to read labels from this ending; expected one of {', '.join(readers)}."
        )
    if not path.is_file():
        raise InputError(f"{str(path)!r}: no such file; expected a file with the columns item_id and label.")
    if path.stat().st_size == 0:
        raise InputError(f"{path.name!r} is empty; expected at least a row with item_id and label.")
    rows = readers[path.suffix.lower()](path)
    answers = [_answer(f"{path.name!r} {where}", row) for where, row in rows]
    labels = [answer for answer in answers if answer is not None]
    if not labels:
        raise InputError(
            f"{path.name!r} holds no label ({len(answers)} rows, the label empty in each); "
            "fill in the column label and import it again."
        )
    return labels


def _read_csv(path: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    text = _decode(path).lstrip("\r\n")
    separator = None
    first = text.split("\n", 1)[0].strip()
    if first.lower().startswith("sep=") and len(first) == 5:  # Excel's hint
        separator, text = first[4], text.split("\n", 1)[-1]
    header = text.split("\n", 1)[0]
    separator = separator or max(SEPARATORS, key=header.count)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        names = [name.strip() for name in next(lines, [])]
        _check_columns(path, names)
        for row in lines:
            if not any(cell.strip() for cell in row):
                continue
            where = f"line {lines.line_num}"
            if len(row) > len(names):
                raise InputError(
                    f"{path.name!r} {where} has {len(row)} cells; the header has {len(names)}. "
                    f"Quote cells that contain {separator!r}."
                )
            yield where, dict(zip(names, row, strict=False))
    except csv.Error as error:
        raise InputError(
            f"{path.name!r} line {lines.line_num} is not valid CSV ({error}). Save it again as CSV UTF-8."
        ) from error


def _decode(path: Path) -> str:
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path.name!r} is not {encoding.removesuffix('-sig').upper()} text (byte {error.start}); "
            "poolwise reads UTF-8, and UTF-16 with a byte order mark. Save it as UTF-8, or run "
            f"`iconv -f latin1 -t utf-8 {path.name}`."
        ) from error


def _read_jsonl(path: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(_decode(path).split("\n"), start=1):
        if line.strip():
            yield f"line {number}", _checked(path, f"line {number}", _parse(path, f"line {number}", line))


def _read_json(path: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    parsed = _parse(path, "", _decode(path))
    if not isinstance(parsed, list):
        raise InputError(
            f"{path.name!r} holds {_kind(parsed)}; expected a list of objects with item_id and label, "
            "or a JSON export of Label Studio."
        )
    if not parsed:
        raise InputError(f"{path.name!r} is an empty list; expected at least one object with item_id and label.")
    if is_label_studio(parsed):
        yield from label_studio_rows(path.name, parsed)
        return
    for number, row in enumerate(parsed, start=1):
        yield f"entry {number}", _checked(path, f"entry {number}", row)


def _read_parquet(path: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = file.schema_arrow.names
        _check_columns(path, names)
        wanted = [name for name in (*REQUIRED, "annotator", "seconds", "time") if name in names]
        number = 0
        for batch in file.iter_batches(columns=wanted):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row
    except pyarrow.ArrowInvalid as error:
        raise InputError(
            f"{path.name!r} cannot be read as Parquet ({str(error).splitlines()[0]}). Write it again."
        ) from error


def _parse(path: Path, where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        at = where or f"line {error.lineno}"
        raise InputError(
            f"{path.name!r} {at} is not valid JSON ({error.msg} at character {error.colno}). Export it again."
        ) from error


def _checked(path: Path, where: str, row: Any) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise InputError(f"{path.name!r} {where} holds {_kind(row)}; expected an object with item_id and label.")
    _check_columns(path, list(row), where)
    return row


def _check_columns(path: Path, names: list[str], where: str = "") -> None:
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise InputError(
            f"{path.name!r}{where and ' ' + where} has no column {' and no column '.join(map(repr, missing))}; "
            f"it has {', '.join(map(repr, names)) or 'none'}. Rename the columns to item_id and label."
        )


def _answer(where: str, row: Mapping[str, Any]) -> LabelRow | None:
    """Check one row; None where the label is empty."""
    label = _text(row.get("label"))
    if not label:
        return None
    item_id = _text(row.get("item_id"))
    if not item_id:
        raise InputError(f"{where} has the label {label!r} but no item_id; fill it in or delete the row.")
    return LabelRow(
        item_id,
        label,
        _text(row.get("annotator")),
        _seconds(where, row.get("seconds", row.get("lead_time"))),  # the second name is Label Studio's
        _time(where, row.get("time", row.get("created_at"))),
    )


def _text(value: Any) -> str:
    """Write a cell as text: a whole float as an integer (tables with gaps store numbers so), missing as ""."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else str(value)


def _seconds(where: str, value: Any) -> float | None:
    text = _text(value).strip()
    if not text:
        return None
    try:
        seconds = float(text.replace(",", ".", 1))
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise InputError(f"{where}: seconds must be a number >= 0; got {text!r}. Correct it or leave it empty.")
    return seconds


def _time(where: str, value: Any) -> str:
    if isinstance(value, datetime):
        moment = value
    else:
        text = _text(value).strip()
        if not text:
            return ""
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise InputError(
                f"{where}: time must be ISO 8601, such as 2026-05-31T17:45:00Z; got {text!r}. "
                "Correct it or leave it empty."
            ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat()


def _kind(value: Any) -> str:
    names = {dict: "one object", list: "a list", str: "a text", int: "a number", float: "a number"}
    return names.get(type(value), repr(value))
