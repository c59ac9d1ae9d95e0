"""Files that are complete or absent: write aside, flush to disk, rename into place.

Every failure of the file system becomes a `StoreError` that names the file and the remedy.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from poolwise.errors import StoreError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
TOO_MANY = (errno.EMFILE, errno.ENFILE)
LOCK_TIMEOUT_S = 60.0


def write_atomic(path: Path, *chunks: bytes | memoryview) -> None:
    """Write a file so that it is there as a whole or not at all, even after a power cut.

    Raises
    ------
    StoreError
        If the disk is full, the directory is read-only, or the write fails otherwise;
        an older file of that name is then untouched.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    with explained(path):
        try:
            with aside.open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                aside.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def put_in_place(aside: Path, path: Path) -> None:
    """Give a finished file its name, unless another process was faster.

    Raises
    ------
    StoreError
        If `path` exists.
    """
    with explained(path):
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        try:
            path.hardlink_to(aside)  # unlike a rename, this fails if the name is taken
            aside.unlink()
        except FileExistsError as error:
            raise StoreError(
                f"{str(path)!r} was made by another process meanwhile. Use it, or choose another name."
            ) from error
        except OSError:  # a file system without hard links
            aside.rename(path)
        sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Create a directory and its parents; fine if it exists."""
    with explained(path):
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Flush the names in a directory to disk (a rename is durable only then)."""
    if os.name == "nt":  # Windows cannot open a directory; its file system journals renames
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn a failure of the file system into a `StoreError` with a remedy."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise store_error(path, error) from error


def store_error(path: Path, error: OSError) -> StoreError:
    """Say what went wrong with a file, and what to do."""
    if error.errno in NO_SPACE:
        return disk_full(path)
    if error.errno in READ_ONLY:
        return read_only(path)
    if error.errno in TOO_MANY:
        return StoreError(
            f"cannot open {str(path)!r}: this process may not have more files open at once. "
            "Raise the limit (`ulimit -n 65536`), or join the files into fewer, larger ones."
        )
    return StoreError(
        f"cannot access {str(path)!r}: {error.strerror or error}. Check the path and the disk, run again."
    )


def disk_full(path: Path) -> StoreError:
    """Build the error for a write that did not fit; says how much space is left."""
    there = next(p for p in (path, *path.absolute().parents) if p.is_dir())
    free = shutil.disk_usage(there).free / 2**20
    return StoreError(
        f"no space left to write {str(path)!r} ({free:.0f} MiB free on its disk, or a quota is used up); nothing "
        "half-written is visible. Free some space, then run the same command again: finished work is kept."
    )


def read_only(path: Path) -> StoreError:
    """Build the error for a write into a place that cannot be written."""
    return StoreError(
        f"cannot write {str(path)!r}: the file, its directory or the file system is read-only. "
        f"Copy the pool to a place you can write (`cp -r {path.parent} ELSEWHERE`), or change the permissions."
    )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that other processes and threads see, and that the system drops if we are killed.

    SQLite's file lock is used because it works alike on every platform.

    Raises
    ------
    StoreError
        If another process holds it for a minute.
    """
    with explained(path), closing(sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if not os.access(path.parent, os.W_OK):
                raise read_only(path) from error
            raise StoreError(
                f"cannot lock {str(path)!r}: {error}. If another process is writing this array, wait for it."
            ) from error
        yield
