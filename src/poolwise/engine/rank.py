"""The program of one rank: open the pool, then lead or follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from poolwise.engine.calls import follow, leading
from poolwise.engine.communicator import Communicator
from poolwise.engine.sharded import Job, form_of
from poolwise.errors import EngineError
from poolwise.kernels import backend
from poolwise.query import check_values
from poolwise.types import ARRAYS, Picks


class Rank:
    """What the leader may call in a rank: the two steps of the opening, and then the methods of its part."""

    def __init__(self, comm: Communicator, open_job: Callable[[], Job]) -> None:
        self.comm, self._open_job = comm, open_job
        self._part: Any = None

    def open_pool(self) -> None:
        """Open the arrays and look for values that cannot be used in the rows of this rank."""
        self.job = self._open_job()
        arrays = {**self.job.extra, **self.job.arrays}
        check_values(self.job.spec, arrays, self.job.mine, self.job.stretch)

    def sees_same_pool(self) -> bool:
        """Whether all ranks see the same pool: its size, and together each row once."""
        per_row = [value for name, value in self.job.arrays.items() if ARRAYS[name].per_row and value is not None]
        n_items = len(per_row[0])
        total, rows = self.comm.sum_f64(np.array([n_items, len(self.job.stretch)], dtype=np.float64))
        return bool(total == self.comm.size * n_items and rows == n_items)

    def __getattr__(self, name: str) -> Any:
        if self._part is None:
            self._part = form_of(self.job.spec, self.job.mode).part(self.job)
        return getattr(self._part, name)


def run_rank(comm: Communicator, open_job: Callable[[], Job], device: str | None = None) -> Picks | None:
    """Run one rank from beginning to end; rank 0 returns the picks."""
    with backend.on(device):
        rank = Rank(comm, open_job)
        if comm.rank:
            follow(comm, rank)
            return None
        with leading(comm, rank) as team:
            team.call("open_pool")
            if comm.size > 1 and not all(team.call("sees_same_pool")):
                raise EngineError("the workers see arrays of different sizes. Give all machines the same files.")
            picks = form_of(rank.job.spec, rank.job.mode).lead(rank.job, team)
            return replace(picks, notes={**picks.notes, **backend.notes()})
