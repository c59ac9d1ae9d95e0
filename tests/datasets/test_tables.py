"""Tables: text stays text, and what is wrong is named with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolwise.datasets import load_text, open_source
from poolwise.datasets.tables import open_table
from poolwise.errors import InputError, UnreadableItemError


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def test_csv_jsonl_parquet_and_a_frame_give_the_same_items(tmp_path: Path) -> None:
    rows = [
        {"id": "001", "text": 'says "hi", twice\nand more', "kind": "x", "who": "p1"},
        {"id": "002", "text": "naïve 鳥", "kind": "", "who": "p1"},
        {"id": "010", "text": "third", "kind": "a", "who": ""},
    ]
    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "semicolon.csv", index=False, sep=";")
    write(tmp_path / "t.jsonl", "\n".join(json.dumps(row) for row in rows) + "\n\n")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    tables = [tmp_path / name for name in ("t.csv", "t.tsv", "semicolon.csv", "t.jsonl", "t.parquet")]
    for table in [*tables, frame]:
        source = open_source(table=table, text="text", id_column="id", label_column="kind", group_column="who")
        assert [item.item_id for item in source.items] == ["001", "002", "010"], table
        assert [item.text for item in source.items] == [row["text"] for row in rows]
        assert [item.group_id for item in source.items] == ["p1", "p1", None]
        assert source.labels == ("x", None, "a")
        assert source.classes == ("a", "x")
        assert source.content == "text"
        json.dumps(source.settings)


def test_ids_default_to_row_numbers(tmp_path: Path) -> None:
    source = open_source(table=write(tmp_path / "t.csv", "text\na\nb\n"), text="text")
    assert [item.item_id for item in source.items] == ["0", "1"]


def test_integer_labels_take_their_names_from_the_file(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b", "c"], "label": pa.array([1, 0, None], pa.int8())})
    named = table.replace_schema_metadata({"label_names": json.dumps(["neg", "pos"])})
    pq.write_table(named, tmp_path / "own.parquet")
    features = {"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "hub.parquet")
    for name in ("own", "hub"):
        source = open_source(table=tmp_path / f"{name}.parquet", text="text", label_column="label")
        assert source.labels == ("pos", "neg", None)
        assert source.classes == ("neg", "pos")


def test_whole_floats_lose_their_point() -> None:
    frame = pd.DataFrame({"text": ["a", "b", "c"], "label": [1, None, 2]})
    assert open_source(table=frame, text="text", label_column="label").labels == ("1", None, "2")


def test_a_text_longer_than_the_csv_module_allows_is_read(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "text\n" + "x" * 200_000 + "\n")
    assert len(open_source(table=table, text="text").items[0].text or "") == 200_000


def test_a_byte_order_mark_and_half_a_surrogate_do_no_harm(tmp_path: Path) -> None:
    assert open_table(write(tmp_path / "t.csv", "a,b\n1,2\n", "utf-8-sig")).names == ("a", "b")
    source = open_source(table=write(tmp_path / "t.jsonl", '{"text": "\\ud83d broken"}\n'), text="text")
    (source.items[0].text or "").encode("utf-8")


def test_blank_texts_are_unreadable_not_fatal(tmp_path: Path) -> None:
    source = open_source(table=write(tmp_path / "t.csv", "text,n\n,1\n  ,2\nok,3\n"), text="text")
    assert load_text(source.items[2]) == "ok"
    for item in source.items[:2]:
        with pytest.raises(UnreadableItemError, match="empty"):
            load_text(item)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", "has no rows"),
        ("t.csv", "text,label\n", "has no rows"),
        ("t.csv", "text,label\na,b\nc\n", "line 3: expected 2 fields .text, label., got 1"),
        ("t.csv", "text,text\na,b\n", "names column 'text' twice"),
        ("t.csv", "txet,label\na,b\n", "no column 'text'; did you mean 'txet'"),
        ("t.jsonl", '{"text": "a"}\n{"text": ', "line 2 is not JSON"),
        ("t.jsonl", '["a"]\n', "line 1 holds a list"),
        ("t.parquet", "not parquet", "is not a Parquet file"),
        ("t.xlsx", "x", "ends in '.xlsx'; expected one of .csv"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source(table=write(tmp_path / name, content), text="text")


def test_another_encoding_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not UTF-8 .byte 6.*iconv"):
        open_source(table=write(tmp_path / "t.csv", "text\ng\xe4nse\n", "latin-1"), text="text")


def test_duplicate_and_empty_ids_are_named(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "id,text\na,1\nb,2\na,3\n")
    with pytest.raises(InputError, match="'a' repeat; 'a' is in rows 1, 3"):
        open_source(table=table, text="text", id_column="id")
    table = write(tmp_path / "u.csv", "id,text\na,1\n,2\n")
    with pytest.raises(InputError, match="row 2 has no id"):
        open_source(table=table, text="text", id_column="id")


def test_real_newsgroups_open_with_their_class_names(shared_data: Path) -> None:
    table = shared_data / "text" / "newsgroups20_test.parquet"
    source = open_source(table=table, text="body", label_column="label")
    assert len(source) == 7532
    assert source.classes is not None
    assert len(source.classes) == 20
    with pytest.raises(InputError, match="'104889', '54305', '54103' and 614 more repeat"):
        open_source(table=table, text="body", id_column="file")
