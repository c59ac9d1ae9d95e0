"""One selection, cut into the jobs of its ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from poolwise.chance import rng_for
from poolwise.engine.places import Spill, describe, reopen
from poolwise.engine.sharded import NOTHING, Job, Mode
from poolwise.engine.wire import Bytes, pack, unpack
from poolwise.errors import EngineError
from poolwise.registry import STRATEGIES, StrategySpec
from poolwise.types import ARRAYS, IndexArray, QueryContext


@dataclass(frozen=True, slots=True)
class Settings:
    """How the ranks of a selection run.

    workers : ranks
    address : an existing Ray cluster; None starts one on this machine and shuts it down again
    collectives : "gloo", "nccl", or "auto": nccl where each rank has a GPU of its own
    timeout_s : a rank that waits longer for another one fails
    attempts : how often a selection is started, should ranks be lost
    """

    workers: int = 2
    address: str | None = None
    collectives: str = "auto"
    timeout_s: float = 1800.0
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked selection and the share of each rank: a stretch of rows, and those of them that may be picked.

    A selection is a pure function of this plan, so that it can be started again; `before` holds the picks that are
    known already from a start that failed.
    """

    spec: StrategySpec
    context: QueryContext
    batch_size: int
    seed: int
    options: Mapping[str, Any]
    device: str | None
    mode: Mode
    shares: tuple[IndexArray, ...]
    stretches: tuple[range, ...]

    def job(self, rank: int, before: IndexArray, on_picks: Callable[[IndexArray], None]) -> Job:
        """Make the job of a rank in this process."""
        return Job(
            spec=self.spec,
            arrays=self.context.arrays,
            labeled=self.context.labeled,
            mine=self.shares[rank],
            stretch=self.stretches[rank],
            batch_size=self.batch_size,
            seed=self.seed,
            options=self.options,
            before=before,
            unlabeled=self.context.unlabeled if rank == 0 else NOTHING,
            on_picks=on_picks if rank == 0 else None,
            mode=self.mode,
            extra=self.context.extra,
            history=self.context.history,
        )

    def messages(self, before: IndexArray, spill: Spill) -> list[Bytes]:
        """Make the jobs of ranks in other processes; arrays that are in memory are spilled first."""
        arrays = describe({**self.context.extra, **self.context.arrays}, spill)
        names = {"arrays": list(self.context.arrays), "extra": list(self.context.extra)}
        return [
            pack(
                {
                    "strategy": self.spec.name,
                    "described": arrays,
                    "names": names,
                    "labeled": self.context.labeled,
                    "mine": compact(self.shares[rank]),
                    "stretch": [self.stretches[rank].start, self.stretches[rank].stop],
                    "batch_size": self.batch_size,
                    "seed": self.seed,
                    "options": dict(self.options),
                    "before": before,
                    "mode": self.mode,
                    "history": self.context.history,
                    "unlabeled": compact(self.context.unlabeled if rank == 0 else NOTHING),
                }
            )
            for rank in range(len(self.shares))
        ]


def make_plan(
    spec: StrategySpec,
    context: QueryContext,
    batch_size: int,
    seed: int,
    options: Mapping[str, Any],
    device: str | None,
    workers: int,
    mode: Mode,
) -> Plan:
    """Give each of at most U workers about as many unlabeled rows; one that chooses alone gets all.

    Rows are cut in the order of the pool; for two rounds at random, without which these promise nothing.
    """
    every = {name: option.default for name, option in spec.options.items()} | dict(options)
    n_shares = 1 if mode == "alone" else min(workers, len(context.unlabeled))
    stretches = tuple(range(part[0], part[-1] + 1) for part in np.array_split(np.arange(size_of(context)), n_shares))
    if mode == "rounds":
        order = rng_for(seed, "partition").permutation(len(context.unlabeled))
        shares = [context.unlabeled[np.sort(part)] for part in np.array_split(order, n_shares)]
    else:
        shares = np.array_split(context.unlabeled, n_shares)
        edges = [0, *(int(share[0]) for share in shares[1:]), size_of(context)]
        stretches = tuple(range(a, b) for a, b in pairwise(edges))
    return Plan(spec, context, batch_size, seed, every, device, mode, tuple(shares), stretches)


def size_of(context: QueryContext) -> int:
    """N, the items of the pool."""
    sizes = [len(value) for name, value in context.arrays.items() if value is not None and ARRAYS[name].per_row]
    return max(sizes, default=int(context.unlabeled[-1]) + 1)


def open_job(message: Bytes, on_picks: Callable[[IndexArray], None]) -> Job:
    """Open the job that a message describes.

    Raises
    ------
    EngineError
        If the strategy is not known here.
    """
    said = unpack(message)
    if said["strategy"] not in STRATEGIES:
        raise EngineError(
            f"the workers know no strategy {said['strategy']!r}: they import poolwise and installed plugins, not the "
            "program that registers it. Install it as a plugin, or use engine='local'."
        )
    opened = reopen(said["described"])
    return Job(
        spec=STRATEGIES[said["strategy"]],
        arrays={name: opened[name] for name in said["names"]["arrays"]},
        labeled=said["labeled"],
        mine=expand(said["mine"]),
        stretch=range(*said["stretch"]),
        batch_size=said["batch_size"],
        seed=said["seed"],
        options=said["options"],
        before=said["before"],
        unlabeled=expand(said["unlabeled"]),
        on_picks=on_picks,
        mode=said["mode"],
        extra={name: opened[name] for name in said["names"]["extra"]},
        history=said["history"],
    )


def compact(indices: IndexArray) -> tuple[int, int, IndexArray] | IndexArray:
    """Describe sorted indices by their range and what is missing in it, where that is shorter."""
    if not len(indices):
        return indices
    low, high = int(indices[0]), int(indices[-1]) + 1
    if high - low >= 2 * len(indices):
        return indices
    there = np.zeros(high - low, dtype=bool)
    there[indices - low] = True
    return low, high, np.flatnonzero(~there) + low


def expand(said: tuple[int, int, IndexArray] | IndexArray) -> IndexArray:
    """Undo `compact`."""
    if isinstance(said, np.ndarray):
        return said
    low, high, missing = said
    there = np.ones(high - low, dtype=bool)
    there[missing - low] = False
    return np.flatnonzero(there) + low
