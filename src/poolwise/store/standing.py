"""Where every item stands: free, asked, or answered. Follows the ledger by reading only what is new."""

from __future__ import annotations

import sqlite3

import numpy as np

from poolwise.store import ledger
from poolwise.types import UNLABELED, BoolArray, IndexArray, PoolState

_NONE = -1
_FOREVER = 2**62
_ASKED = """SELECT item, batch FROM asked JOIN batches ON number = batch
    WHERE batch > ? AND batch <= ? AND round < ? ORDER BY batch"""
_RELEASED = "SELECT batch, round FROM releases WHERE id > ? AND id <= ? AND round < ?"
_ANSWERED = "SELECT item, answer FROM annotations WHERE id > ? AND id <= ? AND round < ? ORDER BY id"


class Standing:
    """The standing of all N items, brought up to date by `follow`.

    answer : (N,) int64, -1 without an answer, else the last one: a class number, or a negative code
    batch_of : (N,) int64, the batch in which an item was asked and not released since; 0 if none
    ever_asked : (N,) bool
    """

    def __init__(self, before_round: int | None = None) -> None:
        self.before_round = before_round
        self.answer: IndexArray = np.empty(0, dtype=np.int64)
        self.batch_of: IndexArray = np.empty(0, dtype=np.int64)
        self.ever_asked: BoolArray = np.empty(0, dtype=bool)
        self._seen = {"annotations": 0, "batches": 0, "releases": 0}

    def follow(self, connection: sqlite3.Connection) -> None:
        """Apply what was committed since the last call; cost O(new events), and O(N) when items were added."""
        self._grow(ledger.count_items(connection, self.before_round))
        items, batches = _last(self._new(connection, "batches", _ASKED))
        self.batch_of[items] = batches
        self.ever_asked[items] = True
        released = self._new(connection, "releases", _RELEASED)
        if len(released):
            self.batch_of[np.isin(self.batch_of, released[:, 0])] = 0
        items, answers = _last(self._new(connection, "annotations", _ANSWERED))
        self.answer[items] = answers

    @property
    def free(self) -> BoolArray:
        """(N,) whether an item may be asked: neither answered nor in an open batch."""
        free: BoolArray = (self.answer == _NONE) & (self.batch_of == 0)
        return free

    def state(self) -> PoolState:
        """Return a copy as the record that strategies get."""
        labeled = self.answer >= 0
        return PoolState(
            labeled=np.flatnonzero(labeled),
            unlabeled=np.flatnonzero(self.free),
            labels=np.where(labeled, self.answer, UNLABELED),
            rejected=np.flatnonzero(self.answer == ledger.FOREIGN_ANSWER),
        )

    def _grow(self, n_items: int) -> None:
        more = n_items - len(self.answer)
        if more > 0:
            self.answer = np.concatenate([self.answer, np.full(more, _NONE, dtype=np.int64)])
            self.batch_of = np.concatenate([self.batch_of, np.zeros(more, dtype=np.int64)])
            self.ever_asked = np.concatenate([self.ever_asked, np.zeros(more, dtype=bool)])

    def _new(self, connection: sqlite3.Connection, table: str, sql: str) -> IndexArray:
        last = connection.execute(f"SELECT coalesce(max(rowid), 0) FROM {table}").fetchone()[0]
        since, self._seen[table] = self._seen[table], last
        return ledger.select_pairs(connection, sql, (since, last, self.before_round or _FOREVER))


def _last(pairs: IndexArray) -> tuple[IndexArray, IndexArray]:
    """Keep the last value of each item: (k,) distinct items and (k,) values."""
    items, pos = np.unique(pairs[::-1, 0], return_index=True)
    return items, pairs[::-1, 1][pos]
