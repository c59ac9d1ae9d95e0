"""A pool in parts: the same call on every part, wherever the parts live.

A selection that needs the whole pool is written once, as a driver that decides and parts that hold rows. With all
parts in this process the driver calls them one after the other (`Here`); `poolwise.engine` has a team whose parts
live in other threads, processes or machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Team(Protocol):
    """The parts of one pool, in the order of their rows."""

    size: int

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every part with the same arguments; answers in the order of the parts."""
        ...

    def call_each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a method of every part with arguments of its own."""
        ...


class Here:
    """Parts in this process."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = parts
        self.size = len(parts)

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every part with the same arguments."""
        return [getattr(part, method)(*arguments) for part in self.parts]

    def call_each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a method of every part with arguments of its own."""
        return [getattr(part, method)(*own) for part, own in zip(self.parts, arguments, strict=True)]
