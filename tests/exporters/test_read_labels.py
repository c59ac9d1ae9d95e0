"""Label files: every format people really have, and an error that says what to do about the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from poolwise.errors import InputError
from poolwise.exporters.read_labels import LabelRow, read_labels
from poolwise.types import SKIP

TWO = [LabelRow("a.jpg", "cat"), LabelRow("b.jpg", "dog")]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


@pytest.mark.parametrize(
    "content",
    [
        "item_id,label\na.jpg,cat\nb.jpg,dog\n",
        "item_id,label\r\na.jpg,cat\r\nb.jpg,dog",
        "item_id;label\na.jpg;cat\nb.jpg;dog\n",
        "item_id\tlabel\na.jpg\tcat\nb.jpg\tdog\n",
        "item_id|label\na.jpg|cat\nb.jpg|dog\n",
        "sep=;\nitem_id;label\na.jpg;cat\nb.jpg;dog\n",
        'label,other,"item_id"\ncat,1,a.jpg\n\n,,\n"dog",2,"b.jpg"\n',
        "item_id, label\na.jpg,cat\nb.jpg,dog\nc.jpg,\n",
        "\ufeffitem_id,label\na.jpg,cat\nb.jpg,dog\n",
        "item_id,label\na.jpg,cat\nb.jpg,dog\n".encode("utf-16"),
    ],
)
def test_csv_of_every_kind(tmp_path: Path, content: str | bytes) -> None:
    assert read_labels(write(tmp_path / "labels.csv", content)) == TWO


def test_csv_keeps_separators_quotes_and_line_breaks_inside_cells(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.csv", 'item_id,label\n"a,b ""c""\nd",é\n')
    assert read_labels(path) == [LabelRow('a,b "c"\nd', "é")]


def test_all_columns(tmp_path: Path) -> None:
    head = "item_id;label;annotator;seconds;time\n"
    path = write(tmp_path / "labels.csv", head + "a;cat;ann;3,5;2026-05-31T12:00:00+02:00\nb;dog;;;2026-05-31 12:00\n")
    assert read_labels(path) == [
        LabelRow("a", "cat", "ann", 3.5, "2026-05-31T10:00:00+00:00"),
        LabelRow("b", "dog", "", None, "2026-05-31T12:00:00+00:00"),
    ]


def test_jsonl_json_and_parquet_agree(tmp_path: Path) -> None:
    rows = [{"item_id": 7, "label": 1}, {"item_id": 8, "label": None}, {"item_id": "9", "label": "x", "seconds": 2}]
    expected = [LabelRow("7", "1"), LabelRow("9", "x", "", 2.0)]
    assert read_labels(write(tmp_path / "l.jsonl", "\n\n".join(map(json.dumps, rows)))) == expected
    assert read_labels(write(tmp_path / "l.json", json.dumps(rows))) == expected
    frame = pd.DataFrame({"item_id": [7, 8], "label": [1.0, None], "time": pd.to_datetime(["2026-05-31", None])})
    frame.to_parquet(tmp_path / "l.parquet")
    assert read_labels(tmp_path / "l.parquet") == [LabelRow("7", "1", "", None, "2026-05-31T00:00:00+00:00")]


def test_jsonl_text_may_hold_unicode_line_separators(tmp_path: Path) -> None:
    path = write(tmp_path / "l.jsonl", '{"item_id": "a\u2028b", "label": "cat"}\n')
    assert read_labels(path) == [LabelRow("a\u2028b", "cat")]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("l.csv", "", "is empty"),
        ("l.csv", "item_id,class\na,b\n", "has no column 'label'; it has 'item_id', 'class'"),
        ("l.csv", "id,class\na,b\n", "has no column 'item_id' and no column 'label'"),
        ("l.csv", "item_id,label\n", "holds no label"),
        ("l.csv", "item_id,label\na,\nb,\n", r"holds no label \(2 rows"),
        ("l.csv", "item_id,label\n,cat\n", "line 2 has the label 'cat' but no item_id"),
        ("l.csv", "item_id,label\na,cat,more\n", "line 2 has 3 cells; the header has 2"),
        ("l.csv", 'item_id,label\n"a,cat\n', "is not valid CSV"),
        ("l.csv", "item_id,label\né,cat\n".encode("latin-1"), r"is not UTF-8 text \(byte 14\).*iconv"),
        ("l.csv", b"\xff\xfei", "is not UTF-16 text"),
        ("l.csv", "item_id,label,seconds\na,cat,soon\n", "line 2: seconds must be a number >= 0; got 'soon'"),
        ("l.csv", "item_id,label,seconds\na,cat,-1\n", "seconds must be"),
        ("l.csv", "item_id,label,seconds\na,cat,nan\n", "seconds must be"),
        ("l.csv", "item_id,label,time\na,cat,yesterday\n", "line 2: time must be ISO 8601"),
        ("l.jsonl", '{"item_id": "a", "label": "b"}\n{"item_id"\n', "line 2 is not valid JSON"),
        ("l.jsonl", "[1]\n", "line 1 holds a list"),
        ("l.jsonl", '{"item_id": "a"}\n', "line 1 has no column 'label'"),
        ("l.json", "{}", "holds one object; expected a list"),
        ("l.json", "[]", "is an empty list"),
        ("l.json", "[1, 2", "is not valid JSON"),
        ("l.json", '["a"]', "entry 1 holds a text"),
        ("l.parquet", "PAR1 not really", "cannot be read as Parquet"),
        ("l.xlsx", "x", "cannot tell how to read"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_labels(write(tmp_path / name, content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_labels(tmp_path / "none.csv")


def task(item_id: str | None, *annotations: dict) -> dict:
    return {"id": 1, "data": {} if item_id is None else {"item_id": item_id}, "annotations": list(annotations)}


def chose(*choices: str, **more: object) -> dict:
    return {"result": [{"type": "choices", "from_name": "label", "value": {"choices": list(choices)}}], **more}


def test_label_studio_export_with_skipped_open_and_double_answers(tmp_path: Path) -> None:
    tasks = [
        task("a", chose("cat", lead_time=2.5, created_at="2026-05-31T10:00:00.000000Z", completed_by=3)),
        task("b", {"was_cancelled": True, "result": [], "completed_by": {"id": 4, "email": "ann@example.org"}}),
        task("c"),
        task("d", {"result": []}),
        task("e", chose("dog"), chose("cat")),
    ]
    assert read_labels(write(tmp_path / "export.json", json.dumps(tasks))) == [
        LabelRow("a", "cat", "3", 2.5, "2026-05-31T10:00:00+00:00"),
        LabelRow("b", SKIP, "ann@example.org"),
        LabelRow("e", "dog"),
        LabelRow("e", "cat"),
    ]


def test_label_studio_flat_exports_are_plain_tables(tmp_path: Path) -> None:
    flat = [{"id": 1, "item_id": "a", "image": "x", "label": "cat", "annotator": 1, "lead_time": 4.0}]
    assert read_labels(write(tmp_path / "min.json", json.dumps(flat))) == [LabelRow("a", "cat", "1", 4.0)]


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([task(None, chose("cat"))], "task 1 has no data.item_id"),
        ([task("a", chose("cat", "dog"))], "task 1 has 2 classes"),
        ([task("a")], "holds no label"),
    ],
)
def test_label_studio_export_that_cannot_be_used(tmp_path: Path, tasks: list[dict], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_labels(write(tmp_path / "export.json", json.dumps(tasks)))
