"""Rows of a pool on the device in force (`backend.on`): held there where they fit, else sent again in every pass.

While the device works on one block, a second thread reads the next one into pinned memory, and a second stream of the
device copies it over. The processor as a device reads the rows where they are.

Everything is float32 without TF32, so results have the error that the bounds of `kcenter_bounds` and `points` allow
for. Sums run in another order than NumPy's: whoever decides between close results does so in float64, elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from poolwise.kernels import backend
from poolwise.kernels.blocks import Computed, as_key, read_rows
from poolwise.types import Array, FloatArray, IndexArray, Rows

STAGE_BYTES = 2**26
"""One of the two blocks on their way to a device; 1.3 ms of copying at 50 GB/s, long beside the start of a kernel."""

PROCESSOR_BYTES = 2**22
"""A block where the device is the processor: its float32 copy and products stay near the cache."""

CENTRES = 1024
"""Centres in one matrix product: rows of a block times these are all that is ever held of rows x centres."""

SPARE_BYTES = 2**30
"""Memory of a device that is left to blocks, centres and active rows."""

DENSE = 0.75
"""Where more than this share of a range of rows is wanted, the whole range is read: slices read faster."""

Tensor = Any


class DeviceRows:
    """(n, D) rows as float32 blocks on the device.

    Parameters
    ----------
    read : sorted positions -> (m, D) C-contiguous float16 or float32 in host memory, as they are stored
    shape, dtype : (n, D), and what `read` returns
    finish : turns a float32 block on the device into what the caller computes with, in new memory
    ahead : whether `read` may run in a second thread
    hold : whether more than one pass is expected
    step : rows of a block; default by `STAGE_BYTES`

    Memory: on the device all rows as stored if they fit beside `SPARE_BYTES`, and two blocks if not.
    """

    def __init__(
        self,
        read: Callable[[IndexArray], Array],
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        finish: Callable[[Tensor], Tensor] | None = None,
        *,
        ahead: bool = True,
        hold: bool = True,
        step: int | None = None,
    ) -> None:
        self.torch, self.device = backend.torch(), backend.device()
        self.read, self.shape, self.finish, self.ahead, self.hold = read, shape, finish, ahead, hold
        self.kind = getattr(self.torch, str(np.dtype(dtype)))
        self.row_bytes = shape[1] * np.dtype(dtype).itemsize
        self.step = step or block_rows(self.row_bytes)
        self.held: Tensor | None = None
        self.filled = False

    def blocks(self, pos: IndexArray | None = None) -> Iterator[tuple[slice, Tensor]]:
        """Stream (where in `pos`, (m, D) float32 on the device) for sorted positions; default all rows."""
        n = self.shape[0] if pos is None else len(pos)
        parts = [slice(start, min(start + self.step, n)) for start in range(0, n, self.step)]
        if pos is None and self.hold and self.held is None and fits(self.device, n * self.row_bytes):
            self.held = self.torch.empty(self.shape, dtype=self.kind, device=self.device)
        if self.filled:
            found = self._from_held(parts, pos)
        else:
            found = self._sent([np.arange(p.start, p.stop) if pos is None else pos[p] for p in parts])
        for part, block in zip(parts, found, strict=True):
            if pos is None and self.held is not None and not self.filled:
                self.held[part] = block
            x = block.to(self.torch.float32)
            yield part, x if self.finish is None else self.finish(x)
        self.filled = self.filled or (pos is None and self.held is not None)

    def _from_held(self, parts: list[slice], pos: IndexArray | None) -> Iterator[Tensor]:
        for part in parts:
            if pos is None:
                yield self.held[part]  # type: ignore[index]
            else:
                yield self.held[self.torch.from_numpy(pos[part]).to(self.device)]  # type: ignore[index]

    def _sent(self, keys: list[IndexArray]) -> Iterator[Tensor]:
        """Send blocks, reading one ahead."""
        on_gpu = is_gpu(self.device)
        send = _Stage(self, max(map(len, keys), default=0)) if on_gpu else _Shared(self)
        if len(keys) < 2 or not self.ahead:
            for turn, key in enumerate(keys):
                yield from send.over(turn, send.fill(turn, key))
            return
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="poolwise-read") as reader:
            ahead = reader.submit(send.fill, 0, keys[0])
            for turn in range(len(keys)):
                block = ahead.result()
                if turn + 1 < len(keys):
                    ahead = reader.submit(send.fill, turn + 1, keys[turn + 1])
                yield from send.over(turn, block)


class _Shared:
    """The processor as a device: rows are used where they are."""

    def __init__(self, rows: DeviceRows) -> None:
        self.rows = rows

    def fill(self, turn: int, key: IndexArray) -> Tensor:
        return self.rows.torch.from_numpy(backend.alias(self.rows.read(key)))

    def over(self, turn: int, block: Tensor) -> Iterator[Tensor]:
        yield block.to(self.rows.device)


class _Stage:
    """Two pinned blocks, their two places on a GPU, and a stream that copies from the ones to the others.

    `fill` may run in another thread. A block is written over when it has been sent (pinned) and when the work on it
    is done (on the GPU), so neither copying nor computing can run away from the other.
    """

    def __init__(self, rows: DeviceRows, most: int) -> None:
        torch = rows.torch
        shape = (most, rows.shape[1])
        self.rows, self.torch = rows, torch
        self.pinned = [torch.empty(shape, dtype=rows.kind, pin_memory=True) for _ in range(2)]
        self.landed = [torch.empty(shape, dtype=rows.kind, device=rows.device) for _ in range(2)]
        self.sent, self.done = ([torch.cuda.Event() for _ in range(2)] for _ in range(2))
        self.copying = torch.cuda.Stream(rows.device)
        self.copying.wait_stream(torch.cuda.current_stream(rows.device))  # whatever used that memory before is done

    def fill(self, turn: int, key: IndexArray) -> Tensor:
        self.sent[turn % 2].synchronize()
        block = self.rows.read(key)
        pinned = self.pinned[turn % 2][: len(block)]
        np.copyto(pinned.numpy(), block)
        return pinned

    def over(self, turn: int, block: Tensor) -> Iterator[Tensor]:
        computing = self.torch.cuda.current_stream(self.rows.device)
        there = self.landed[turn % 2][: len(block)]
        self.done[turn % 2].synchronize()
        with self.torch.cuda.stream(self.copying):
            there.copy_(block, non_blocking=True)
            self.sent[turn % 2].record(self.copying)
        computing.wait_event(self.sent[turn % 2])
        yield there
        self.done[turn % 2].record(computing)


class Mirror:
    """The beginning of a growing list of vectors on the device; `upto` sends what is new."""

    def __init__(self, capacity: int, width: int) -> None:
        torch, device = backend.torch(), backend.device()
        self.x = torch.empty((capacity, width), dtype=torch.float32, device=device)
        self.sq = torch.empty(capacity, dtype=torch.float32, device=device)
        self.count = 0

    def upto(self, x: FloatArray, sq: FloatArray) -> tuple[Tensor, Tensor]:
        """Return (t, D) vectors and their (t,) squared lengths, given the same as host arrays."""
        new = slice(self.count, len(x))
        if len(x) > self.count:
            self.x[new], self.sq[new] = send(x[new]), send(sq[new])
            self.count = len(x)
        return self.x[: len(x)], self.sq[: len(x)]


def least(x: Tensor, centres: Tensor, sq: Tensor) -> Tensor:
    """min_c (|c|^2 - 2 <x_i, c>), (n,), a chunk of centres at a time."""
    best = None
    for start in range(0, len(centres), CENTRES):
        part = slice(start, start + CENTRES)
        near = backend.torch().addmm(sq[part], x, centres[part].T, alpha=-2).amin(dim=1)
        best = near if best is None else backend.torch().minimum(best, near)
    return best


def gram(x: FloatArray) -> FloatArray:
    """x @ x.T for a few rows in host memory, on the device in force."""
    if backend.device() is None:
        out: FloatArray = x @ x.T
        return out
    there = send(x)
    return fetch(there @ there.T)


def send(x: Array) -> Tensor:
    """Copy an array to the device."""
    return backend.torch().from_numpy(backend.alias(np.ascontiguousarray(x))).to(backend.device())


def fetch(x: Tensor) -> Array:
    """Copy a tensor from the device."""
    return np.asarray(x.cpu().numpy())


def stored_dtype(rows: Rows) -> np.dtype[Any] | None:
    """float16 or float32 where rows are stored so and can be sent as they are, else None."""
    return np.dtype(rows.dtype) if rows.dtype in (np.float16, np.float32) else None


def read_stored(rows: Rows, indices: IndexArray) -> Array:
    """Read sorted rows as float16 or float32, whichever is nearer to how they are stored."""
    kind = stored_dtype(rows) or np.dtype(np.float32)
    key = as_key(indices)
    if not isinstance(key, slice) and len(key) > 1 and not isinstance(rows, Computed):
        low, high = int(key[0]), int(key[-1]) + 1
        if len(key) >= DENSE * (high - low):
            return read_rows(rows, slice(low, high), kind)[key - low]
    return read_rows(rows, key, kind)


def fits(device: str | None, size: int) -> bool:
    """Whether that many bytes may be kept on the device; the processor holds the rows already."""
    return is_gpu(device) and size + SPARE_BYTES <= 0.9 * free_bytes(device)


def free_bytes(device: str | None) -> int:
    """Memory of a GPU that nobody uses."""
    return int(backend.torch().cuda.mem_get_info(device)[0])


def is_gpu(device: str | None) -> bool:
    """Whether the device is one that CUDA (or ROCm) drives."""
    return str(device).startswith("cuda")


def block_rows(row_bytes: int) -> int:
    """Rows of a block."""
    budget = STAGE_BYTES if is_gpu(backend.device()) else PROCESSOR_BYTES
    return int(np.clip(budget // max(1, row_bytes), 256, 2**17))
