"""Tasks that other processes import."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def square(x: int) -> int:
    if x < 0:
        raise ValueError(f"{x} is negative")
    return x * x


def square_after_dying_once(item: tuple[int, str]) -> int:
    """Kill this process the first time that 3 comes."""
    x, mark = item
    if x == 3 and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
