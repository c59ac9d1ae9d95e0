"""Reading in read-only places, refusing to write there, and explaining what SQLite says."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from poolwise.errors import StoreError
from poolwise.store import database
from poolwise.store.database import Database
from poolwise.store.pool import PoolStore
from poolwise.types import Annotation, Item, PoolState, Selection

READ_ONLY = """
import os, shutil, subprocess, sys
from pathlib import Path
import numpy as np
from poolwise.errors import StoreError
from poolwise.store.pool import PoolStore
from poolwise.types import Annotation, Item
root = Path(sys.argv[1])
pool = PoolStore.create(root / "p", [Item(i, f"item-{i}") for i in range(20)], source={})
pool.annotate([Annotation(3, "a")], allow_unasked=True)
pool.arrays.write_part("embeddings", 0, np.ones((20, 4)))
(root / "whole_log").mkdir()
(root / "lost_index").mkdir()
for name in ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"):  # as a killed process leaves them
    shutil.copy(root / "p" / name, root / "whole_log" / name)
    if not name.endswith("-shm"):
        shutil.copy(root / "p" / name, root / "lost_index" / name)
pool.close()
subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
for name in ("p", "whole_log"):
    with PoolStore.open(root / name) as pool:
        assert not pool.writable
        assert pool.state().labeled.tolist() == [3], name
        assert pool.items()[5].item_id == "item-5"
        assert pool.rounds() == [] and pool.batches() == []
        for write in (
            lambda: pool.annotate([Annotation(4, "a")], allow_unasked=True),
            lambda: pool.ask(lambda state, seed: 1 / 0),
            lambda: pool.append_items([Item(0, "x")]),
            lambda: pool.record_round({}),
            lambda: pool.settings.update(a=1),
            lambda: pool.arrays.write_part("embeddings", 20, np.ones((20, 4))),
            lambda: PoolStore.create(root / "new", [Item(0, "x")], source={}),
        ):
            try:
                write()
            except StoreError as error:
                assert "read-only" in str(error) and "cp -r" in str(error), error
            else:
                raise AssertionError("written")
assert PoolStore.open(root / "p").arrays.read("embeddings", 20).shape == (20, 4)
try:
    PoolStore.open(root / "lost_index")
except StoreError as error:
    assert "unmerged changes" in str(error), error
else:
    raise AssertionError("opened without its newest labels")
print("fine")
"""


@pytest.fixture
def pool(tmp_path: Path) -> PoolStore:
    return PoolStore.create(tmp_path / "p", [Item(i, f"item-{i}") for i in range(20)], source={})


def test_a_pool_on_a_read_only_file_system_can_be_read_and_says_why_it_cannot_be_written(
    on_small_disk: Callable[[str], str],
) -> None:
    assert on_small_disk(READ_ONLY) == "fine\n"


def test_a_directory_without_write_permission_is_read_only(pool: PoolStore, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.annotate([Annotation(3, "a")], allow_unasked=True)
    pool.close()
    monkeypatch.setattr(database.os, "access", lambda path, mode: mode != os.W_OK)  # permission bits do not bind root
    reader = PoolStore.open(pool.path)
    assert reader.state().labeled.tolist() == [3]
    with pytest.raises(StoreError, match=r"read-only.*cp -r"):
        reader.annotate([Annotation(4, "a")], allow_unasked=True)

    def choose(state: PoolState, seed: int) -> Selection:
        raise AssertionError("chose before it knew whether it may write")

    with pytest.raises(StoreError, match="read-only"):
        reader.ask(choose)
    reader.close()


def test_a_transaction_that_fails_leaves_nothing(pool: PoolStore) -> None:
    store = Database(pool.path / "ledger.sqlite")
    with pytest.raises(RuntimeError), store.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('a', '1')")
        raise RuntimeError
    with store.read() as connection:
        assert connection.execute("SELECT count(*) FROM settings").fetchone() == (0,)


def test_a_reader_sees_one_moment_while_others_write(pool: PoolStore) -> None:
    store = Database(pool.path / "ledger.sqlite")
    with store.read() as connection:
        before = connection.execute("SELECT count(*) FROM annotations").fetchone()
        PoolStore.open(pool.path).annotate([Annotation(0, "a")], allow_unasked=True)
        assert connection.execute("SELECT count(*) FROM annotations").fetchone() == before == (0,)
    with store.read() as connection:
        assert connection.execute("SELECT count(*) FROM annotations").fetchone() == (1,)


def test_a_writer_waits_for_another_one(pool: PoolStore) -> None:
    started, order = threading.Event(), []

    def hold() -> None:
        with Database(pool.path / "ledger.sqlite").write():
            started.set()
            time.sleep(0.2)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    started.wait()
    pool.annotate([Annotation(0, "a")], allow_unasked=True)
    order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_a_writer_that_waited_too_long_says_so(pool: PoolStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    with Database(pool.path / "ledger.sqlite").write(), pytest.raises(StoreError, match="another process is writing"):
        PoolStore.open(pool.path).annotate([Annotation(0, "a")], allow_unasked=True)


def test_a_write_inside_another_transaction_is_refused_rather_than_lost(pool: PoolStore) -> None:
    with pool._database.read(), pytest.raises(StoreError, match=r"another transaction .*close\(\)"):
        pool.annotate([Annotation(0, "a")], allow_unasked=True)
    abandoned = pool._database.write()  # as if interrupted, and kept alive by a traceback
    abandoned.__enter__()
    with pytest.raises(StoreError, match="another transaction"):
        pool.annotate([Annotation(0, "a")], allow_unasked=True)
    pool.close()
    pool.annotate([Annotation(0, "a")], allow_unasked=True)
    del abandoned
    pool.annotate([Annotation(1, "a")], allow_unasked=True)
    assert PoolStore.open(pool.path).state().labeled.tolist() == [0, 1]


def test_a_full_ledger_keeps_what_was_acknowledged(pool: PoolStore) -> None:
    pool.annotate([Annotation(0, "a")], allow_unasked=True)
    with pool._database.read() as connection:  # a disk that is full, as SQLite sees it
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    pool._database._connection.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[union-attr]
    with pytest.raises(StoreError, match=r"no space left .*nothing half-written"):
        pool.annotate([Annotation(1, "b" * 100, annotator="x" * 10_000)] * 100, allow_unasked=True)
    assert [a.index for a in pool.annotations()] == [0]
    assert pool.classes == ["a"]
    assert pool.state().labeled.tolist() == [0]


def test_a_damaged_page_is_explained(pool: PoolStore) -> None:
    pool.close()
    path = pool.path / "ledger.sqlite"
    data = bytearray(path.read_bytes())
    data[4096:] = np.random.default_rng(0).bytes(len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(StoreError, match="is damaged"):
        PoolStore.open(path.parent).items()


def test_durability_is_as_promised(pool: PoolStore) -> None:
    with pool._database.read() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_errors_of_our_own_making_are_not_dressed_up(pool: PoolStore) -> None:
    with pytest.raises(sqlite3.IntegrityError), pool._database.write() as connection:
        connection.execute("INSERT INTO classes VALUES (0, NULL)")


def test_a_reader_without_write_permission_sees_what_others_write_later(
    pool: PoolStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.close()
    reader = PoolStore.open(pool.path)
    with monkeypatch.context() as patch:
        patch.setattr(database.os, "access", lambda path, mode: mode != os.W_OK)
        assert reader.state().labeled.tolist() == []
    reader.close()
    PoolStore.open(pool.path).annotate([Annotation(3, "a")], allow_unasked=True)
    monkeypatch.setattr(database.os, "access", lambda path, mode: mode != os.W_OK)
    assert reader.state().labeled.tolist() == [3]
