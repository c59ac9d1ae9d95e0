"""One part of a pool as k-center sees it, with the products of rows and centres on a device.

The device gives min_c (|c|^2 - 2 <x, c>) in float32, and nothing else: intervals with the margins of `kcenter_bounds`,
the active rows, the window and every decision stay where they are, so the picks are those of NumPy. A product costs
little there, hence no low-dimensional bound; stale bounds and active rows matter all the more where the rows have to be
sent in every pass.
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels import backend
from poolwise.kernels.device import CENTRES, DeviceRows, Mirror, Tensor, fetch, least, read_stored, send, stored_dtype
from poolwise.kernels.kcenter_bounds import widen
from poolwise.kernels.kcenter_centres import Centres
from poolwise.kernels.kcenter_frame import Frame
from poolwise.kernels.kcenter_shard import Shard
from poolwise.progress import task
from poolwise.types import FloatArray, IndexArray, Rows

GROUPS = 16
"""Rows that are brought up to date together are those of like staleness, in at most so many groups."""


class DeviceShard(Shard):
    """A `Shard` whose rows and active rows are on the device in force, if they fit there."""

    def __init__(self, rows: Rows, indices: IndexArray, frame: Frame, *, first_id: int = 0) -> None:
        super().__init__(rows, indices, frame, first_id=first_id)
        self.sketch = None
        backend.used("k-center distances")
        kind = stored_dtype(rows)
        shape = (len(indices), int(rows.shape[1]))
        if kind is None:  # only the host knows how such rows become float32
            self.there = DeviceRows(self.read, shape, np.dtype(np.float32))
        else:
            self.origin = send(frame.origin)
            self.there = DeviceRows(lambda pos: read_stored(rows, indices[pos]), shape, kind, self._place)
        self.mirror: Mirror | None = None
        self.active_there: Tensor = None

    def _place(self, x: Tensor) -> Tensor:
        """Do what `Frame.place` does, with the same bits: one subtraction, and a power of two."""
        if not self.frame.moves:
            return x
        x = x - self.origin
        return x if self.frame.scale == 1.0 else x * self.frame.scale

    def _centres(self, centres: Centres, first: int, last: int) -> tuple[Tensor, Tensor]:
        if self.mirror is None:
            self.mirror = Mirror(centres.capacity, self.rows.shape[1])
        x, sq = self.mirror.upto(centres.x, centres.sq_norm)
        return x[first:last], sq[first:last]

    def _lower_to(self, pos: IndexArray | slice, score: Tensor) -> None:
        """Account for centres whose min (|c|^2 - 2 <x, c>) is `score`, one for each row."""
        sq_norm = self.sq_norm[pos]
        low, up = widen(fetch(score).astype(np.float64) + sq_norm, sq_norm)
        self.lower[pos] = np.minimum(self.lower[pos], low)
        self.upper[pos] = np.minimum(self.upper[pos], up)

    def prepare(self, centres: Centres) -> None:
        """Read all rows once: lengths, sums, and distances to the first centres."""
        first = min(len(centres), CENTRES)
        near = self._centres(centres, 0, first) if first else None
        torch = backend.torch()
        sq, score = (torch.empty(len(self), dtype=torch.float32, device=backend.device()) for _ in range(2))
        total = torch.zeros(self.rows.shape[1], dtype=torch.float64, device=backend.device())
        with task("reading the pool", len(self)) as work:
            for here, x in self.there.blocks():
                sq[here] = (x * x).sum(dim=1)
                if near is None:  # a cold start needs the mean
                    total += x.sum(dim=0, dtype=torch.float64)
                else:
                    score[here] = least(x, *near)
                work.advance(len(x))
        self.keep_lengths(slice(None), fetch(sq))
        self.total = fetch(total)
        if first:
            self._lower_to(slice(None), score)
        self.upto[:] = first

    def catch_up(self, pos: IndexArray, centres: Centres) -> None:
        """Bring the rows at some positions up to date with all centres."""
        pos = pos[self.upto[pos] < len(centres)]
        pos = pos[np.argsort(self.upto[pos], kind="stable")]
        torch, size = backend.torch(), max(self.there.step, -(-len(pos) // GROUPS))
        for start in range(0, len(pos), size):
            group = np.sort(pos[start : start + size])
            near = self._centres(centres, int(self.upto[group].min()), len(centres))
            score = torch.empty(len(group), dtype=torch.float32, device=backend.device())
            for here, x in self.there.blocks(group):
                score[here] = least(x, *near)
            self._lower_to(group, score)
        self.upto[pos] = len(centres)

    def hold_active(self) -> None:
        """Keep the active rows on the device."""
        self.active_there = None  # let go of the old rows first
        torch = backend.torch()
        shape = (len(self.active), self.rows.shape[1])
        self.active_there = torch.empty(shape, dtype=torch.float32, device=backend.device())
        for here, x in self.there.blocks(self.active):
            self.active_there[here] = x

    def active_rows(self, at: IndexArray) -> FloatArray:
        """Placed rows of some of the active ones, in host memory."""
        return fetch(self.active_there[send(at)])

    def tighten_active(self, centres: Centres, first: int) -> None:
        """Bring the active rows up to date with the centres from number `first` on."""
        if first < len(centres):
            self._lower_to(self.active, least(self.active_there, *self._centres(centres, first, len(centres))))
