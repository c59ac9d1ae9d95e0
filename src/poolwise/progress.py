"""Progress of long work: whoever works announces it, whoever shows it listens.

Kernels, embedding and training call `task`; the command line installs a listener with
`listening` that draws bars with the time left. Without a listener nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]
"""Called with (what, units done, units in total)."""

_listener: ContextVar[Listener | None] = ContextVar("poolwise_progress", default=None)


class Task:
    """One piece of work with a known number of units."""

    def __init__(self, what: str, total: int) -> None:
        self.what = what
        self.total = total
        self.done = 0
        self._listener = _listener.get()
        self._tell()

    def advance(self, units: int = 1) -> None:
        """Say that so many more units are done."""
        self.done += units
        self._tell()

    def finish(self) -> None:
        """Say that all is done, whatever was counted."""
        self.done = self.total
        self._tell()

    def _tell(self) -> None:
        if self._listener is not None:
            self._listener(self.what, min(self.done, self.total), self.total)


@contextmanager
def task(what: str, total: int) -> Iterator[Task]:
    """Announce a piece of work of `total` units; leaving the block without an error finishes it."""
    work = Task(what, total)
    yield work
    work.finish()


def report(what: str, done: int, total: int) -> None:
    """Pass on what a worker elsewhere says about its progress."""
    listener = _listener.get()
    if listener is not None:
        listener(what, done, total)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send the progress of everything inside the block to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
