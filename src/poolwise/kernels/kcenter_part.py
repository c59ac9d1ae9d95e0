"""One part of a pool on the team of k-center: the state of its rows, and its copy of the centres."""

from __future__ import annotations

import numpy as np

from poolwise.kernels import backend
from poolwise.kernels.blocks import as_key, read_rows
from poolwise.kernels.distances import sq_norms
from poolwise.kernels.kcenter_centres import Centres, labeled_centres
from poolwise.kernels.kcenter_device import DeviceShard
from poolwise.kernels.kcenter_frame import Frame
from poolwise.kernels.kcenter_shard import Shard
from poolwise.kernels.kcenter_window import Candidates
from poolwise.types import FloatArray, IndexArray, Rows


class Part:
    """One part of a pool and its copy of the centres; parts of one process may share the centres.

    Parameters
    ----------
    rows : (N, D), the whole pool; of it, this part reads its own and the labeled rows
    indices : (u,) int64 pool indices of the rows that may be picked here, sorted
    labeled : (L,) int64 pool indices
    """

    def __init__(self, rows: Rows, indices: IndexArray, labeled: IndexArray) -> None:
        self.rows, self.indices, self.labeled = rows, indices, labeled

    def begin(self, frame: Frame, capacity: int, centres: Centres | None = None) -> None:
        """Read the labeled rows, which are the first of at most `capacity` centres, and then all rows of the part."""
        self.centres = labeled_centres(self.rows, self.labeled, frame, capacity) if centres is None else centres
        kind = Shard if backend.device() is None else DeviceShard
        self.shard = kind(self.rows, self.indices, frame)
        self.shard.prepare(self.centres)

    def summary(self) -> tuple[int, FloatArray, float]:
        """Count and sum the rows, (D,), and find the smallest squared length; all in the frame."""
        return len(self.shard), self.shard.total, float(self.shard.sq_norm.min(initial=np.inf))

    def within(self, limit: float) -> IndexArray:
        """List the pool indices of rows with squared length up to `limit`."""
        found: IndexArray = self.shard.ids[self.shard.sq_norm <= limit]
        return found

    def start_from(self, index: int) -> None:
        """Make a row of the pool the first centre."""
        if not len(self.centres):
            frame = self.centres.frame
            x = frame.place(read_rows(self.rows, as_key(np.array([index])), frame.origin.dtype))
            self.centres.append(np.array([index]), x, sq_norms(x))
        shard = self.shard
        shard.catch_up(np.arange(len(shard)), self.centres)
        shard.lower[shard.ids == index] = shard.upper[shard.ids == index] = -np.inf

    def candidates(self, count: int) -> Candidates:
        """Put forward the `count` foremost rows."""
        return self.shard.top_candidates(count, self.centres)

    def absorb(
        self,
        lower: FloatArray,
        upper: FloatArray,
        first: int,
        picks: tuple[IndexArray, FloatArray, FloatArray],
    ) -> None:
        """Take back the intervals of the candidates, and the centres from number `first` on: ids, x, sq_norm."""
        known = len(self.centres) - first
        if known < len(picks[0]):
            self.centres.append(picks[0][known:], picks[1][known:], picks[2][known:])
        self.shard.absorb(lower, upper, self.centres, first)
