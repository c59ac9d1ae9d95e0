"""The ledger of a pool: items, classes, append-only annotations, batches as asked, sealed rounds.

Plain SQL in small functions; each takes the connection of a transaction that `store/pool.py` opened.
Nothing is ever changed or deleted: a correction is a later annotation, giving a batch back is a
release, and triggers refuse anything else.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from poolwise.errors import InputError, PoolVersionError, StoreError
from poolwise.store.records import Batch, metrics_from_dict, now, selection_from_dict, selection_to_dict, to_json
from poolwise.types import NOT_OF_INTEREST, SKIP, Annotation, IndexArray, Item, Selection

FORMAT = 1
"""Version of the layout; a pool with a higher one was made by a newer poolwise."""

SKIP_ANSWER, FOREIGN_ANSWER = -2, -3
"""How "skip" and "not of interest" are stored; classes are stored as their number."""

_WORDS = {SKIP: SKIP_ANSWER, NOT_OF_INTEREST: FOREIGN_ANSWER}
_CHUNK = 10_000

SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE items (idx INTEGER PRIMARY KEY, item_id TEXT NOT NULL, uri TEXT, text TEXT, group_id TEXT, metadata TEXT);
CREATE TABLE appends (first INTEGER PRIMARY KEY, count INTEGER NOT NULL, round INTEGER NOT NULL, time TEXT NOT NULL);
CREATE TABLE classes (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE annotations (id INTEGER PRIMARY KEY, item INTEGER NOT NULL, answer INTEGER NOT NULL, annotator TEXT,
    time TEXT NOT NULL, seconds REAL, round INTEGER NOT NULL, source TEXT);
CREATE INDEX annotations_item ON annotations (item);
CREATE TABLE batches (number INTEGER PRIMARY KEY, round INTEGER NOT NULL, time TEXT NOT NULL, key TEXT UNIQUE,
    selection TEXT NOT NULL);
CREATE TABLE asked (batch INTEGER NOT NULL, rank INTEGER NOT NULL, item INTEGER NOT NULL, PRIMARY KEY (batch, rank))
    WITHOUT ROWID;
CREATE TABLE releases (id INTEGER PRIMARY KEY, batch INTEGER NOT NULL UNIQUE, round INTEGER NOT NULL,
    time TEXT NOT NULL);
CREATE TABLE rounds (number INTEGER PRIMARY KEY, time TEXT NOT NULL, n_labeled INTEGER NOT NULL,
    budget_left INTEGER NOT NULL, digest TEXT NOT NULL, metrics TEXT NOT NULL);
PRAGMA user_version = {FORMAT};
"""
APPEND_ONLY = ("items", "annotations", "batches", "asked", "releases", "rounds", "classes")


def make_tables(connection: sqlite3.Connection) -> None:
    """Create the tables, and the triggers that keep them append-only."""
    connection.executescript(SCHEMA)
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            connection.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: {table}'); END"
            )


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a ledger of a newer format, and a file that is none."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > FORMAT:
        raise PoolVersionError(
            f"pool {str(path)!r} has format {version}; this poolwise reads up to {FORMAT}. "
            "Upgrade with `pip install -U poolwise`."
        )
    if version == 0:
        raise StoreError(f"{str(path)!r} is no pool: its ledger is empty. Create one with `poolwise init {path} ...`.")


# --- meta, settings -------------------------------------------------------------------------------------------


def get_value(connection: sqlite3.Connection, table: str, key: str) -> Any:
    """Read one JSON value of `meta` or `settings`; KeyError if absent."""
    row = connection.execute(f"SELECT value FROM {table} WHERE key = ?", (key,)).fetchone()
    if row is None:
        raise KeyError(key)
    return json.loads(row[0])


def set_value(connection: sqlite3.Connection, table: str, key: str, value: Any) -> None:
    """Write one JSON value of `meta` or `settings`."""
    connection.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (key, to_json(value)))


# --- items ----------------------------------------------------------------------------------------------------


def count_items(connection: sqlite3.Connection, before_round: int | None = None) -> int:
    """Count the items of the pool, or those it had when a round began."""
    sql = "SELECT coalesce(sum(count), 0) FROM appends WHERE ? IS NULL OR round < ?"
    return int(connection.execute(sql, (before_round, before_round)).fetchone()[0])


def insert_items(connection: sqlite3.Connection, first: int, items: Iterable[Item]) -> int:
    """Insert items from pool index `first` on, without looking for duplicates; returns how many."""
    n = first
    for chunk in _chunks(items):
        connection.executemany(
            "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?)", (_item_row(n + k, item) for k, item in enumerate(chunk))
        )
        n += len(chunk)
    return n - first


def note_append(connection: sqlite3.Connection, first: int, count: int, number: int) -> None:
    """Record that `count` items joined the pool in a round (0: at its creation)."""
    connection.execute("INSERT INTO appends VALUES (?, ?, ?, ?)", (first, count, number, now()))


def index_item_ids(connection: sqlite3.Connection) -> None:
    """Make item ids unique.

    Raises
    ------
    InputError
        If one occurs twice; the first few are named.
    """
    try:
        connection.execute("CREATE UNIQUE INDEX item_ids ON items (item_id)")
    except sqlite3.IntegrityError as error:
        twice = "FROM (SELECT item_id, min(idx) AS first FROM items GROUP BY item_id HAVING count(*) > 1)"
        n_twice = connection.execute(f"SELECT count(*) {twice}").fetchone()[0]
        names = [row[0] for row in connection.execute(f"SELECT item_id {twice} ORDER BY first LIMIT 3")]
        raise InputError(
            f"item ids must be unique; {', '.join(map(repr, names))} {'occurs' if n_twice == 1 else 'occur'} more than "
            f"once ({n_twice} such ids). Remove the repeated rows, or use another column as the id."
        ) from error


def select_items(connection: sqlite3.Connection, first: int, stop: int) -> list[Item]:
    """Read the items first, ..., stop - 1."""
    rows = connection.execute("SELECT * FROM items WHERE idx >= ? AND idx < ? ORDER BY idx", (first, stop))
    return [_item(row) for row in rows]


def select_some_items(connection: sqlite3.Connection, indices: Sequence[int]) -> list[Item]:
    """Read items in the order of `indices`, which must exist."""
    found: dict[int, Item] = {}
    for chunk in _chunks(indices):
        rows = connection.execute(f"SELECT * FROM items WHERE idx IN ({_marks(chunk)})", chunk)
        found.update((row[0], _item(row)) for row in rows)
    return [found[index] for index in indices]


def select_ids(connection: sqlite3.Connection, indices: Sequence[int] | None) -> list[str]:
    """Read item ids in the order of `indices` (None: all)."""
    if indices is None:
        return [row[0] for row in connection.execute("SELECT item_id FROM items ORDER BY idx")]
    found: dict[int, str] = {}
    for chunk in _chunks(indices):
        found.update(connection.execute(f"SELECT idx, item_id FROM items WHERE idx IN ({_marks(chunk)})", chunk))
    return [found[index] for index in indices]


def select_groups(connection: sqlite3.Connection) -> list[str | None]:
    """Read the group of every item, in order."""
    return [row[0] for row in connection.execute("SELECT group_id FROM items ORDER BY idx")]


def find_ids(connection: sqlite3.Connection, item_ids: Iterable[str]) -> dict[str, int]:
    """Map those of the given item ids that are in the pool to their pool index."""
    found: dict[str, int] = {}
    for chunk in _chunks(item_ids):
        found.update(connection.execute(f"SELECT item_id, idx FROM items WHERE item_id IN ({_marks(chunk)})", chunk))
    return found


def _item_row(index: int, item: Item) -> tuple[Any, ...]:
    if not isinstance(item.item_id, str) or not item.item_id:
        raise InputError(f"item {index} has the id {item.item_id!r}; an id must be a text that is not empty.")
    return index, item.item_id, item.uri, item.text, item.group_id, to_json(item.metadata) if item.metadata else None


def _item(row: tuple[Any, ...]) -> Item:
    index, item_id, uri, text, group_id, metadata = row
    return Item(index, item_id, uri, text, group_id, json.loads(metadata) if metadata else {})


# --- classes and annotations ----------------------------------------------------------------------------------


def class_names(connection: sqlite3.Connection) -> list[str]:
    """List class names by class number."""
    return [row[0] for row in connection.execute("SELECT name FROM classes ORDER BY number")]


def add_classes(connection: sqlite3.Connection, first: int, names: Iterable[str]) -> None:
    """Give the next class numbers to new names."""
    connection.executemany("INSERT INTO classes VALUES (?, ?)", enumerate(names, start=first))


def insert_annotations(
    connection: sqlite3.Connection, annotations: Iterable[Annotation], numbers: dict[str, int], number: int
) -> None:
    """Append annotations; `numbers` maps class names to numbers, `number` is the round."""
    answers, time = {**numbers, **_WORDS}, now()
    connection.executemany(
        "INSERT INTO annotations (item, answer, annotator, time, seconds, round, source) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (int(a.index), answers[a.label], a.annotator, a.time or time, _seconds(a.seconds), number, a.source)
            for a in annotations
        ),
    )


def _seconds(value: float | None) -> float | None:
    return None if value is None else float(value)


def select_annotations(connection: sqlite3.Connection) -> list[Annotation]:
    """Read all annotations in the order in which they came."""
    words: dict[int, str] = dict(enumerate(class_names(connection)))
    words |= {answer: word for word, answer in _WORDS.items()}
    rows = connection.execute(
        "SELECT item, answer, annotator, time, seconds, round, source FROM annotations ORDER BY id"
    )
    return [Annotation(row[0], words[row[1]], *row[2:]) for row in rows]


# --- batches and rounds ---------------------------------------------------------------------------------------


def next_batch(connection: sqlite3.Connection) -> int:
    """Number that the next batch will get."""
    return 1 + int(connection.execute("SELECT coalesce(max(number), 0) FROM batches").fetchone()[0])


def next_round(connection: sqlite3.Connection) -> int:
    """Number of the round that is under way: one more than the last sealed one."""
    return 1 + int(connection.execute("SELECT coalesce(max(number), 0) FROM rounds").fetchone()[0])


def insert_batch(
    connection: sqlite3.Connection, number: int, in_round: int, key: str | None, selection: Selection
) -> None:
    """Record a batch as asked."""
    record = to_json(selection_to_dict(selection))
    connection.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?)", (number, in_round, now(), key, record))
    connection.executemany(
        "INSERT INTO asked VALUES (?, ?, ?)", ((number, rank, i) for rank, i in enumerate(selection.indices.tolist()))
    )


def select_batches(connection: sqlite3.Connection, where: str, args: Sequence[Any]) -> list[Batch]:
    """Read batches, oldest first, with the items that still lack an answer."""
    rows = connection.execute(
        "SELECT number, batches.round, batches.time, key, selection, releases.id IS NOT NULL FROM batches "
        f"LEFT JOIN releases ON releases.batch = number WHERE {where} ORDER BY number",
        args,
    ).fetchall()
    return [
        Batch(number, in_round, time, key, selection_from_dict(json.loads(record)), _waiting(connection, number), gone)
        for number, in_round, time, key, record, gone in ((*row[:5], bool(row[5])) for row in rows)
    ]


OPEN = """releases.id IS NULL AND EXISTS (SELECT 1 FROM asked WHERE batch = number
    AND NOT EXISTS (SELECT 1 FROM annotations WHERE annotations.item = asked.item))"""
"""Condition for `select_batches`: batches that still await answers."""


def insert_release(connection: sqlite3.Connection, batch: int, in_round: int) -> None:
    """Record that the unanswered items of a batch were given back."""
    connection.execute("INSERT INTO releases (batch, round, time) VALUES (?, ?, ?)", (batch, in_round, now()))


def select_rounds(connection: sqlite3.Connection) -> list[tuple[int, int, int, str, dict[str, float]]]:
    """Read the sealed rounds: (number, n_labeled, budget_left, digest, metrics)."""
    rows = connection.execute("SELECT number, n_labeled, budget_left, digest, metrics FROM rounds ORDER BY number")
    return [(*row[:4], metrics_from_dict(json.loads(row[4]))) for row in rows]


def select_pairs(connection: sqlite3.Connection, sql: str, args: Sequence[Any]) -> IndexArray:
    """Run a query with two whole-number columns; (n, 2) int64."""
    flat = np.fromiter(chain.from_iterable(connection.execute(sql, args)), dtype=np.int64)
    return flat.reshape(-1, 2)


def _waiting(connection: sqlite3.Connection, batch: int) -> IndexArray:
    rows = connection.execute(
        "SELECT item FROM asked WHERE batch = ? "
        "AND NOT EXISTS (SELECT 1 FROM annotations WHERE annotations.item = asked.item) ORDER BY rank",
        (batch,),
    )
    return np.fromiter((row[0] for row in rows), dtype=np.int64)


def _marks(chunk: Sequence[Any]) -> str:
    return ",".join("?" * len(chunk))


def _chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    source = iter(values)
    while chunk := list(islice(source, _CHUNK)):
        yield chunk
