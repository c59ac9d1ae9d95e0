"""One SQLite file, opened so that threads, forks, several processes and read-only disks are safe."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poolwise.errors import InputError, StoreError
from poolwise.store.files import disk_full, read_only

BUSY_TIMEOUT_S = 60.0

_PROBE = "SELECT count(*) FROM sqlite_master"
_DURABLE = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA fullfsync=1",  # macOS: reach the platter; no effect elsewhere
)

_inherited: list[sqlite3.Connection] = []
"""Connections that came through a fork. SQLite forbids to use or close them, so they are only kept."""


class Database:
    """Transactions on one SQLite file: all or nothing, and durable once `write` has been left.

    Write-ahead log with `synchronous=FULL`: what is committed survives `kill -9` and a power cut.
    Readers never wait for a writer and see one moment in time. Threads share one connection behind
    a lock; a forked child opens its own. In a directory that cannot be written, reading works and
    `write` raises `StoreError`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._keep = True
        self._depth = 0

    @property
    def writable(self) -> bool:
        """Whether the file and its directory can be written (False on a read-only file system)."""
        return os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Read one moment in time, whatever others write meanwhile."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Write all or nothing; one writer at a time, others wait up to a minute."""
        if not self.writable:
            raise read_only(self.path)
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def close(self) -> None:
        """Merge the log into the file and let go of it; the next use opens it again."""
        if self._pid != os.getpid():
            self._leave_to_parent()
        with self._lock:
            connection, self._connection, self._depth = self._connection, None, 0
            if connection is not None:
                connection.close()

    def __del__(self) -> None:
        self.close()

    def _leave_to_parent(self) -> None:
        if self._connection is not None:
            _inherited.append(self._connection)
        self._connection, self._depth, self._lock, self._pid = None, 0, threading.RLock(), os.getpid()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        """Begin and end a transaction; a read inside another one is part of it, a write must not be."""
        if self._pid != os.getpid():  # we are a forked child
            self._leave_to_parent()
        with self._lock, explained(self.path):
            if self._depth and begin != "BEGIN":  # nobody would commit it, for instance after an interrupt
                raise StoreError(
                    f"cannot write {str(self.path)!r}: another transaction of this thread is under way. "
                    "Finish it first; if it was interrupted, call close() and try again."
                )
            if self._connection is None:
                self._keep = self.writable
                self._connection = _connect(self.path, self._keep)
            connection = self._connection
            self._depth += 1
            try:
                if self._depth == 1:
                    if connection.in_transaction:  # interrupted before it could roll back
                        connection.rollback()
                    connection.execute(begin)
                yield connection
                if self._depth == 1:
                    connection.commit()
            finally:
                if connection is self._connection:  # else closed meanwhile
                    self._depth -= 1
                    if self._depth == 0:
                        self._finish(connection)

    def _finish(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.rollback()
        if not self._keep:  # we may have taken the file for one that nobody changes
            self._connection = None
            connection.close()


def _connect(path: Path, writable: bool) -> sqlite3.Connection:
    if writable:
        return _open(path, "mode=rw", *_DURABLE)
    try:
        return _open(path, "mode=ro", _PROBE)  # works when the log is there with its index, or a writer has it open
    except sqlite3.OperationalError as error:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise StoreError(
                f"{str(path)!r} has unmerged changes in {log.name!r}, which a read-only directory does not allow "
                f"to merge. Copy the pool to a place you can write: `cp -r {path.parent} ELSEWHERE`."
            ) from error
        return _open(path, "immutable=1", _PROBE)  # no log: the file is all there is


def _open(path: Path, mode: str, *first: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        for statement in first:
            connection.execute(statement).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn a failure of SQLite into a `StoreError` with a remedy."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise InputError(
            f"{error.object!r} is not valid Unicode (character {error.start}); rename the file or the key."
        ) from error
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise
        raise _store_error(path, error) from error


def _store_error(path: Path, error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0)
    kind = code & 0xFF
    if kind == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_WRITE:
        return disk_full(path)
    if kind == sqlite3.SQLITE_READONLY or (kind == sqlite3.SQLITE_CANTOPEN and path.exists()):
        return read_only(path)
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            f"{str(path)!r} has been busy for {BUSY_TIMEOUT_S:.0f} s: another process is writing. "
            "Wait for it to finish, or stop it, and run again; nothing was written."
        )
    if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError(
            f"{str(path)!r} is damaged ({error}). Restore it from a backup, or recover what is readable with "
            f"`sqlite3 {path} .recover > ledger.sql`."
        )
    return StoreError(f"cannot use {str(path)!r}: {error}. Check the path and the disk, then run again.")
