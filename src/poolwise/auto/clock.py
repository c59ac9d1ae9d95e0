"""Where the seconds of a choice go, for its notes."""

from __future__ import annotations

import time


class Clock:
    """Seconds between laps, each under the name of the part of the work that it ends."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """End a part of the work: `laps` gets `seconds_PART`."""
        now = time.perf_counter()
        self.laps[f"seconds_{part}"], self._last = round(now - self._last, 3), now
