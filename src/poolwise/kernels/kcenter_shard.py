"""One part of a pool as k-center sees it: stale intervals of all rows, and active rows kept up to date."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from poolwise.errors import InputError
from poolwise.kernels.blocks import as_key, check_block, read_rows
from poolwise.kernels.distances import sq_norms
from poolwise.kernels.kcenter_bounds import Intervals, tighten, tighten_fully
from poolwise.kernels.kcenter_centres import Centres
from poolwise.kernels.kcenter_exact import PAIR_BLOCK
from poolwise.kernels.kcenter_frame import CHUNK, SKETCH_DIM, Frame
from poolwise.kernels.kcenter_window import Candidates, comes_before, foremost
from poolwise.progress import task
from poolwise.types import FloatArray, IndexArray, Rows

PLAIN_ROWS = 4096
"""Up to this many rows all are active: one window's gather then holds the whole pool."""

ACTIVE_BYTES = 192 * 2**20
"""Most memory for active rows; 2 % of 1.28 M rows of 2048 float32."""

BLOCK_BYTES = 2**20
"""Rows are prepared in blocks that stay in the second-level cache."""


class Shard:
    """The state of one part of a pool, and the only reader of its rows.

    Parameters
    ----------
    rows : (n, D), read by blocks
    indices : (u,) positions within `rows` of the rows that may be picked, sorted
    frame : the same for all shards
    first_id : pool index of row 0 of this part

    Memory: 24 B a row, 4 (k + 1) B a row where the frame has a basis, at most `ACTIVE_BYTES` of active rows.
    """

    def __init__(self, rows: Rows, indices: IndexArray, frame: Frame, *, first_id: int = 0) -> None:
        n, width = len(indices), rows.shape[1]
        self.rows, self.indices, self.frame, self.first_id = rows, indices, frame, first_id
        self.together = n > 0 and int(indices[-1]) - int(indices[0]) == n - 1
        self.sq_norm = np.empty(n, dtype=np.float32)
        self.lower, self.upper = np.full(n, np.inf), np.full(n, np.inf)
        self.upto = np.zeros(n, dtype=np.int32)
        self.sketch = None if frame.basis is None else np.empty((n, frame.basis.shape[1] + 1), dtype=np.float32)
        self.total = np.zeros(width)
        self.step = max(64, BLOCK_BYTES // (4 * width))
        self.capacity = n if n <= PLAIN_ROWS else int(np.clip(n // 50, 1024, max(1024, ACTIVE_BYTES // (4 * width))))
        self.reach = self.capacity
        self.active = np.empty(0, dtype=np.int64)
        self.active_x = np.empty((0, width), dtype=np.float32)
        self.rest, self.rest_pos = np.inf, -1
        self._front = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def ids(self) -> IndexArray:
        """Pool indices."""
        return self.indices + self.first_id

    def read(self, pos: IndexArray | slice, out: FloatArray | None = None) -> FloatArray:
        """Placed rows at some positions of this shard's list; sorted positions are fastest."""
        if isinstance(pos, slice) and self.together:
            begin = int(self.indices[0])
            key: IndexArray | slice = slice(begin + pos.start, begin + pos.stop)
        else:
            key = as_key(self.indices[pos])
        return self.frame.place(read_rows(self.rows, key, self.frame.origin.dtype), out)

    def _read_among(self, pos: IndexArray, key: IndexArray | slice) -> FloatArray:
        return self.read(pos[key])

    def prepare(self, centres: Centres) -> None:
        """Read all rows once: lengths, sketches, sums, and distances to the first centres.

        Raises
        ------
        InputError
            If a row holds NaN or inf, or is too long.
        """
        first = min(len(centres), SKETCH_DIM)
        size = min(self.step, len(self)) if self.frame.moves else 0
        buffer = np.empty((size, self.rows.shape[1]), dtype=np.float32)
        with task("reading the pool", len(self)) as work:
            for start in range(0, len(self), self.step):
                here = slice(start, min(start + self.step, len(self)))
                with np.errstate(over="ignore", invalid="ignore"):  # refused by row
                    x = self.read(here, buffer[: here.stop - start] if size else None)
                    n = sq_norms(x)
                self.keep_lengths(here, n)
                if not first:  # a cold start needs the mean
                    self.total += x.sum(axis=0, dtype=np.float64)
                if self.sketch is not None:
                    self.sketch[here] = self.frame.sketch(x, n)
                if first:
                    tighten_fully(x, Intervals(n, self.lower[here], self.upper[here]), centres, 0, first)
                work.advance(len(n))
        self.upto[:] = first

    def keep_lengths(self, here: slice, n: FloatArray) -> None:
        """Keep the squared lengths of placed rows, if they fit float32."""
        if not np.isfinite(n).all():
            self._refuse(self.indices[here][~np.isfinite(n)])
        self.sq_norm[here] = n

    def _refuse(self, indices: IndexArray) -> None:
        """Raise an error that says what is wrong with rows whose length is not finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            check_block("embeddings", read_rows(self.rows, as_key(indices)), indices + self.first_id)
        raise InputError(
            f"embeddings row {indices[0] + self.first_id} is more than 1e15 times longer than the others, too long to "
            'compute distances in float32. Drop that item, or scale rows with metric="cosine".'
        )

    def catch_up(self, pos: IndexArray, centres: Centres) -> None:
        """Bring the rows at some positions up to date with all centres."""
        pos = pos[self.upto[pos] < len(centres)]
        pos = pos[np.lexsort((pos, self.upto[pos]))]
        step = self.step
        if self.sketch is not None:
            step = int(np.clip(PAIR_BLOCK // max(1, len(centres) - int(self.upto[pos].min(initial=0))), 64, CHUNK))
        for start in range(0, len(pos), step):
            here = np.sort(pos[start : start + step])
            self._tighten(here, functools.partial(self._read_among, here), centres, int(self.upto[here].min()))
            self.upto[here] = len(centres)

    def _tighten(
        self, here: IndexArray, read: Callable[[IndexArray | slice], FloatArray], centres: Centres, first: int
    ) -> None:
        known = Intervals(self.sq_norm, self.lower, self.upper)
        part = known.at(here)
        tighten(read, None if self.sketch is None else self.sketch[here], part, centres, first)
        known.put(here, part)

    def top_candidates(self, count: int, centres: Centres) -> Candidates:
        """Put forward the `count` rows with the largest upper bounds, up to date with all centres."""
        if not comes_before(self.upper[self.active], self.active, self.rest, self.rest_pos).any():
            self._refill(centres)
        front, rest, rest_at = foremost(self.upper[self.active], count)
        self._front = front
        rest_pos = int(self.active[rest_at]) if rest_at >= 0 else -1
        if self.rest > rest or (self.rest == rest and self.rest_pos < rest_pos):
            rest, rest_pos = self.rest, self.rest_pos
        pos = self.active[front]
        x = self.active_rows(front)
        ids = self.ids
        rest_id = int(ids[rest_pos]) if rest_pos >= 0 else -1
        return Candidates(ids[pos], x, self.sq_norm[pos], self.lower[pos], self.upper[pos], rest, rest_id)

    def absorb(self, lower: FloatArray, upper: FloatArray, centres: Centres, first: int) -> None:
        """Take back the intervals of this shard's candidates, and the centres added since number `first`."""
        pos = self.active
        if len(self._front) < len(pos):
            self.tighten_active(centres, first)
        self.lower[pos[self._front]], self.upper[pos[self._front]] = lower, upper
        self.upto[pos] = len(centres)

    def tighten_active(self, centres: Centres, first: int) -> None:
        """Bring the active rows up to date with the centres from number `first` on."""
        pos = self.active
        for start in range(0, len(pos), 4 * CHUNK):
            here, x = pos[start : start + 4 * CHUNK], self.active_x[start : start + 4 * CHUNK]
            self._tighten(here, x.__getitem__, centres, first)

    def _refill(self, centres: Centres) -> None:
        """Choose active rows afresh: reach further down the list until enough rows are above all others."""
        goal = max(1, self.capacity // 4)
        while True:
            pos, rest, rest_pos = foremost(self.upper, self.reach)
            self.catch_up(pos, centres)
            ahead = pos[comes_before(self.upper[pos], pos, rest, rest_pos)]
            if len(ahead) >= goal or self.reach >= len(self):
                break
            self.reach = min(2 * self.reach, len(self))
        if len(ahead) > self.capacity:
            kept, rest, at = foremost(self.upper[ahead], self.capacity)
            rest_pos, ahead = int(ahead[at]), ahead[kept]
            self.reach = max(self.capacity, self.reach // 2)
        self.active, self.rest, self.rest_pos = ahead, rest, rest_pos
        self.hold_active()

    def hold_active(self) -> None:
        """Keep the active rows at hand."""
        ahead = self.active
        self.active_x = np.empty((0, self.rows.shape[1]), dtype=np.float32)  # let go of the old rows first
        self.active_x = np.empty((len(ahead), self.rows.shape[1]), dtype=np.float32)
        for start in range(0, len(ahead), CHUNK):
            self.read(ahead[start : start + CHUNK], self.active_x[start : start + CHUNK])

    def active_rows(self, at: IndexArray) -> FloatArray:
        """Placed rows of some of the active ones."""
        return self.active_x if len(at) == len(self.active) else self.active_x[at]
