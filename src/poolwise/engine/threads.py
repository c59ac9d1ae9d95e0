"""Ranks as threads of this process."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from poolwise.engine.communicator import Room, Threads
from poolwise.engine.plan import Plan, Settings
from poolwise.engine.rank import run_rank
from poolwise.engine.supervise import Tell
from poolwise.types import IndexArray, Picks


def launch(plan: Plan, before: IndexArray, scratch: Path, settings: Settings, tell: Tell) -> Picks:
    """Run all ranks and return what rank 0 chose; the error of the rank that failed first is raised."""
    room = Room(len(plan.shares), settings.timeout_s)
    causes: list[BaseException] = []

    def run(rank: int) -> Picks | None:
        try:
            return run_rank(Threads(room, rank), lambda: plan.job(rank, before, tell), plan.device)
        except threading.BrokenBarrierError:
            return None  # another rank failed, and says why
        except BaseException as error:
            causes.append(error)
            room.meeting.abort()
            return None

    with ThreadPoolExecutor(room.size, thread_name_prefix="poolwise-rank") as pool:
        here = contextvars.copy_context()  # rank 0 reports progress to whoever listens here
        futures = [pool.submit(here.run, run, 0), *(pool.submit(run, rank) for rank in range(1, room.size))]
        try:
            picks = futures[0].result()
        except KeyboardInterrupt:
            room.meeting.abort()
            raise
    if causes:
        raise causes[0]
    assert picks is not None
    return picks
