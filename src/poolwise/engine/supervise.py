"""Start a selection over several ranks, and start it again if a rank is lost."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from poolwise import progress
from poolwise.engine.calls import rebuilt
from poolwise.engine.plan import Plan, Settings
from poolwise.engine.sharded import NOTHING, form_of
from poolwise.errors import EngineError, WorkerLostError
from poolwise.types import IndexArray, Picks

Tell = Callable[[IndexArray], None]
"""Told of the picks so far."""

Launch = Callable[[Plan, IndexArray, Path, Settings, Tell], Picks]
"""Starts all ranks of a plan with the picks that are known already; returns the picks, or raises WorkerLostError."""


class News:
    """What rank 0 says while it works."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell
        self.result: Picks | None = None

    def take(self, frame: tuple[Any, ...]) -> None:
        """Pass on progress and picks, keep the result, raise a failure."""
        kind = frame[0]
        if kind == "progress":
            progress.report(*frame[1:])
        elif kind == "picks":
            self.tell(frame[1])
        elif kind == "failure":
            raise rebuilt(tuple(frame[1]), "a worker")
        else:
            self.result = frame[1]


def supervised(launch: Launch, plan: Plan, settings: Settings) -> Picks:
    """Run a plan; after a loss go on from the picks that are known, or from the beginning.

    The batch does not depend on losses: a selection is a pure function of its plan.

    Raises
    ------
    EngineError
        If ranks are lost in every attempt.
    """
    resumes = form_of(plan.spec, plan.mode).resumes
    before = NOTHING

    def tell(picks: IndexArray) -> None:
        nonlocal before
        if resumes:
            before = np.array(picks[: plan.batch_size - 1])

    with tempfile.TemporaryDirectory(prefix="poolwise-engine-") as scratch:
        for attempt in range(settings.attempts):
            try:
                picks = launch(plan, before, Path(scratch), settings, tell)
                losses = {"restarts": attempt} if attempt else {}
                return Picks(picks.indices, picks.scores, picks.components, {**picks.notes, **losses})
            except WorkerLostError as error:
                lost = error
    raise EngineError(
        f"{lost}; the selection was started {settings.attempts} times and lost a worker each time. "
        "Ask for fewer workers (--workers) if memory is short, or use --engine local."
    ) from lost
