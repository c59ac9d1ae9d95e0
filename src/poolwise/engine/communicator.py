"""How the ranks of one selection talk: four calls, which every rank makes in the same order.

Rank 0 leads: it gathers what the parts put forward, decides, and broadcasts. `Threads` is the communicator inside
one process; `torch_dist.py` has the one between processes and machines.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

import numpy as np

from poolwise.types import FloatArray


class Communicator(Protocol):
    """Four calls among `size` ranks; each is made by all ranks, or all wait."""

    rank: int
    size: int

    def gather_candidates(self, part: Any) -> list[Any] | None:
        """Collect one value of every rank at rank 0, in the order of ranks; the others get None."""
        ...

    def broadcast_rows(self, message: Any) -> Any:
        """Hand the value of rank 0 to all ranks."""
        ...

    def sum_f64(self, values: FloatArray) -> FloatArray:
        """Add float64 arrays of one shape over all ranks; every rank gets the sum."""
        ...

    def barrier(self) -> None:
        """Wait for all ranks."""
        ...


class Room:
    """What the threads of one selection share."""

    def __init__(self, size: int, timeout_s: float) -> None:
        self.size = size
        self.meeting = threading.Barrier(size, timeout=timeout_s)
        self.slots: list[Any] = [None] * size


class Threads:
    """The communicator of one thread among those in a room. Values are handed over as they are, not copied.

    A thread that fails aborts `room.meeting`; the calls of all others then raise `threading.BrokenBarrierError`.
    """

    def __init__(self, room: Room, rank: int) -> None:
        self.room, self.rank, self.size = room, rank, room.size

    def _exchange(self, value: Any) -> list[Any]:
        self.room.slots[self.rank] = value
        self.room.meeting.wait()
        found = list(self.room.slots)
        self.room.meeting.wait()  # nobody may write again before all have read
        return found

    def gather_candidates(self, part: Any) -> list[Any] | None:
        """Collect one value of every rank at rank 0."""
        found = self._exchange(part)
        return found if self.rank == 0 else None

    def broadcast_rows(self, message: Any) -> Any:
        """Hand the value of rank 0 to all ranks."""
        return self._exchange(message)[0]

    def sum_f64(self, values: FloatArray) -> FloatArray:
        """Add over all ranks, in their order."""
        total: FloatArray = np.sum(self._exchange(np.asarray(values, dtype=np.float64)), axis=0)
        return total

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.room.meeting.wait()
