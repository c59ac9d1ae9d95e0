"""Every format that writes labels: what was exported reads back as the same labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise.exporters.read_labels import read_labels
from poolwise.registry import EXPORTERS
from poolwise.store.pool import PoolStore
from poolwise.types import NOT_OF_INTEREST, SKIP, Annotation, Item

ENDINGS = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet"}
ODD = [
    "plain.jpg",
    "a,b;c",
    'say "hi"',
    "two\nlines",
    "\r",
    " spaces ",
    "=1+1",
    "<b>",
    "ünïcødé 🐦",
    "-1",
    "1.0",
    "NaN",
]


def labeled_pool(path: Path, labels: dict[str, str]) -> PoolStore:
    store = PoolStore.create(path, [Item(0, key) for key in labels], source={"kind": "arrays"})
    store.annotate(
        [
            Annotation(i, label, f"ann{i}", "2026-05-31T10:00:00+00:00", 0.1 + i, source="test")
            for i, label in enumerate(labels.values())
        ],
        allow_unasked=True,
    )
    return store


def test_every_exporter_is_known_here() -> None:
    assert set(EXPORTERS.names()) == {*ENDINGS, "label_studio"}


@pytest.mark.parametrize("name", ENDINGS)
def test_labels_of_odd_items_read_back_the_same(tmp_path: Path, name: str) -> None:
    labels = dict(zip(ODD, reversed(ODD), strict=True)) | {"skipped": SKIP, "foreign": NOT_OF_INTEREST}
    store = labeled_pool(tmp_path / "p.pool", labels)
    out = EXPORTERS[name](store, tmp_path / f"labels{ENDINGS[name]}")
    rows = read_labels(out)
    assert {row.item_id: row.label for row in rows} == labels
    assert [row.annotator for row in rows] == [f"ann{i}" for i in range(len(labels))]
    assert [row.seconds for row in rows] == [0.1 + i for i in range(len(labels))]
    assert {row.time for row in rows} == {"2026-05-31T10:00:00+00:00"}


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@pytest.mark.parametrize("name", ENDINGS)
@given(labels=st.dictionaries(TEXT, TEXT, min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_any_text_reads_back_the_same(tmp_path_factory: pytest.TempPathFactory, name: str, labels) -> None:
    folder = tmp_path_factory.mktemp("trip")
    store = labeled_pool(folder / "p.pool", labels)
    rows = read_labels(EXPORTERS[name](store, folder / f"labels{ENDINGS[name]}"))
    store.close()
    assert {row.item_id: row.label for row in rows} == labels


@pytest.mark.parametrize("name", ENDINGS)
def test_a_corrected_label_is_exported_once_and_its_history_on_request(tmp_path: Path, name: str) -> None:
    store = labeled_pool(tmp_path / "p.pool", {"b": "cat", "a": "cat"})
    store.annotate([Annotation(0, "dog")])
    out = tmp_path / f"labels{ENDINGS[name]}"
    assert [(row.item_id, row.label) for row in read_labels(EXPORTERS[name](store, out))] == [
        ("b", "dog"),
        ("a", "cat"),
    ]
    history = read_labels(EXPORTERS[name](store, out, history=True))
    assert [(row.item_id, row.label) for row in history] == [("b", "cat"), ("a", "cat"), ("b", "dog")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, "p.pool"])


def test_columns_are_fixed_even_without_labels(tmp_path: Path) -> None:
    import pyarrow.parquet

    store = PoolStore.create(tmp_path / "p.pool", [Item(0, "a")], source={"kind": "arrays"})
    head = "item_id,label,annotator,time,seconds,round,source,audit,draw_probability"
    assert EXPORTERS["csv"](store, tmp_path / "l.csv").read_bytes() == head.encode() + b"\r\n"
    assert EXPORTERS["jsonl"](store, tmp_path / "l.jsonl").read_bytes() == b""
    assert ",".join(pyarrow.parquet.read_schema(EXPORTERS["parquet"](store, tmp_path / "l.parquet")).names) == head


def test_an_imported_file_gives_a_second_pool_the_same_state(tmp_path: Path) -> None:
    labels = {f"item {i}": "ab"[i % 2] for i in range(20)}
    first = labeled_pool(tmp_path / "first.pool", labels)
    rows = read_labels(EXPORTERS["csv"](first, tmp_path / "labels.csv"))
    second = PoolStore.create(tmp_path / "second.pool", [Item(0, key) for key in labels], source={"kind": "arrays"})
    found = second.index_of(row.item_id for row in rows).tolist()
    second.annotate(
        [Annotation(i, row.label, row.annotator, row.time, row.seconds) for i, row in zip(found, rows, strict=True)],
        allow_unasked=True,
    )
    assert np.array_equal(first.state().labels, second.state().labels)


def test_audit_items_are_marked_with_the_probability_of_their_draw(tmp_path):
    """Who trains elsewhere must leave them out, and who weighs them needs the probability."""
    import csv
    import json

    import pyarrow.parquet as pq

    from poolwise import Pool

    pool = Pool.create(tmp_path / "p", embeddings=np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32))
    batch = pool.query("random", batch_size=40, audit=0.25)
    pool.label(batch.indices, ["a" if i % 2 else "b" for i in batch.indices])
    marked = set(batch.indices[np.asarray(batch.components["audit"], dtype=bool)].tolist())
    assert len(marked) == 10
    with pool.export(tmp_path / "l.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {int(row["item_id"]) for row in rows if row["audit"] == "true"} == marked
    assert all((row["draw_probability"] != "") == (row["audit"] == "true") for row in rows)
    lines = [json.loads(line) for line in pool.export(tmp_path / "l.jsonl").read_text().splitlines()]
    assert {int(row["item_id"]) for row in lines if row["audit"]} == marked
    table = pq.read_table(pool.export(tmp_path / "l.parquet")).to_pylist()
    found = sorted(row["draw_probability"] for row in table if row["audit"])
    assert found == pytest.approx([1 / (300 - k) for k in range(10)])
    assert {row["draw_probability"] for row in table if not row["audit"]} == {None}
