"""What a case is: one task of poolwise, one way to do it without poolwise, and how to see that both agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """Whether two answers agree, and the figures that say so."""

    passed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One case with its data made.

    fast : the task through poolwise
    peer : the same task without poolwise
    check : compares their answers
    shorter : the peer with fewer picks, where the whole would take too long; then its time for `target` is on the
        line through (`picks[0]`, time of `shorter`) and (`picks[1]`, time of `peer`)
    share : the peer does only this share of the work; its time is divided by it
    floor : one read of the array that everybody must read, and nothing else
    """

    fast: Callable[[], Any]
    peer: Callable[[], Any]
    check: Callable[[Any, Any], Check]
    shorter: Callable[[], Any] | None = None
    picks: tuple[int, int] = (0, 0)
    target: int = 0
    share: float = 1.0
    floor: Callable[[], Any] | None = None

    def whole(self, peer_s: float, shorter_s: float) -> float:
        """Time of the whole peer from the times that were measured."""
        if self.shorter is None:
            return peer_s / self.share
        slope = max(peer_s - shorter_s, 0.0) / (self.picks[1] - self.picks[0])
        return peer_s + slope * (self.target - self.picks[1])


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table.

    name : what `--only` matches; task, against : what the table says
    required : smallest (processor time of the peer) / (processor time of poolwise); 0 for none
    build : makes the data and returns a Trial; called with `size`, or with `tiny` for the warm-up and in tests
    needs : module the peer is imported from, "" for none
    data : generator of the data
    """

    name: str
    task: str
    against: str
    required: float
    build: Callable[..., Trial]
    size: Mapping[str, Any]
    tiny: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""
    data: str = "structured"
    repeats: int = 3
