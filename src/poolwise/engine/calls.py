"""Calls from the leading rank to the parts of all ranks, made of the communicator's calls.

The leader broadcasts the name of a method and its arguments; every rank, the leader too, calls it on its own part;
the answers are gathered. The other ranks do nothing else (`follow`). An error in a part becomes an answer, so that
no rank is left waiting, and is raised by the leader.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from poolwise import errors
from poolwise.engine.communicator import Communicator

STOP = ""


class Afar:
    """A team (see `kernels.team`) whose part r lives in rank r; used by rank 0."""

    def __init__(self, comm: Communicator, part: Any) -> None:
        self.comm, self.part, self.size = comm, part, comm.size

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every part with the same arguments."""
        return self._call(method, False, arguments)

    def call_each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a method of every part with arguments of its own."""
        return self._call(method, True, tuple(arguments))

    def _call(self, method: str, own: bool, arguments: tuple[Any, ...]) -> list[Any]:
        self.comm.broadcast_rows((method, own, arguments))
        answers = self.comm.gather_candidates(_attempt(self.part, method, arguments[0] if own else arguments))
        assert answers is not None
        for rank, (_, failure) in enumerate(answers):
            if failure is not None:
                raise rebuilt(failure, f"worker {rank + 1} of {self.size}")
        return [value for value, _ in answers]


@contextmanager
def leading(comm: Communicator, part: Any) -> Iterator[Afar]:
    """Lead the other ranks inside the block; afterwards they stop, also if the block fails for a reason of its own."""
    try:
        yield Afar(comm, part)
    except errors.PoolwiseError:
        comm.broadcast_rows((STOP, False, ()))
        raise
    comm.broadcast_rows((STOP, False, ()))


def follow(comm: Communicator, part: Any) -> None:
    """Answer the calls of the leader until it says stop."""
    while True:
        method, own, arguments = comm.broadcast_rows(None)
        if method == STOP:
            return
        comm.gather_candidates(_attempt(part, method, arguments[comm.rank] if own else arguments))


Failure = tuple[str, str]
"""Class and message of an error."""


def _attempt(part: Any, method: str, arguments: tuple[Any, ...]) -> tuple[Any, Failure | None]:
    try:
        return getattr(part, method)(*arguments), None
    except Exception as error:  # it is raised again by the leader
        return None, as_failure(error)


def as_failure(error: Exception) -> Failure:
    """Describe an error so that it can travel."""
    return type(error).__name__, str(error)


def rebuilt(failure: Failure, where: str) -> errors.PoolwiseError:
    """Make the error that a failure describes: as it was if poolwise raised it on purpose, else an `EngineError`."""
    name, message = failure
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, errors.PoolwiseError):
        return kind(message)
    return errors.EngineError(f"{where} failed with {name}: {message}. Try workers=1 to see where.")
