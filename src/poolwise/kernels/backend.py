"""The one door to torch, opened only when it is asked for or already open.

`on("cuda")` (or "cpu" for torch on the processor) moves the large matrix products of everything inside the block
to that device; NumPy is the default. Blocks go in and come out as NumPy arrays, so no other module knows.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from poolwise.errors import OptionError, missing_extra
from poolwise.kernels.scratch import Scratch
from poolwise.types import Array

_device: ContextVar[str | None] = ContextVar("poolwise_device", default=None)


@contextmanager
def on(device: str | None) -> Iterator[None]:
    """Run matrix products inside the block through torch on `device` ("cuda", "cuda:1", "cpu"); None is NumPy.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    OptionError
        If torch does not know or cannot reach the device.
    """
    if device is not None:
        torch = _torch()
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise OptionError(
                f"device {device!r} cannot be used by torch ({str(error).splitlines()[0]}); expected cpu, cuda or "
                "cuda:N. Leave device out to use NumPy."
            ) from error
    token = _device.set(device)
    try:
        yield
    finally:
        _device.reset(token)


PRODUCT_ROWS = 1024
"""Rows in one product: its result is still in the cache when the bias comes."""


class Affine:
    """x -> x @ weight + bias, on the device in force when it is called; constants are sent there once.

    Parameters
    ----------
    weight : (D, C) float
    bias : (C,) float
    dtype : float32 or float64, in which products are computed
    """

    def __init__(self, weight: Array, bias: Array, dtype: np.dtype[Any]) -> None:
        self.weight = np.ascontiguousarray(weight, dtype=dtype)
        self.bias = bias.astype(dtype)
        self._there: dict[str, tuple[Any, Any]] = {}
        self._scratch = Scratch()

    def __call__(self, x: Array) -> Array:
        """Return (n, C) for (n, D), as a NumPy array of the same dtype that nobody else holds."""
        device = _device.get()
        if device is None:
            out = self._scratch.take((len(x), self.weight.shape[1]), x.dtype)
            with np.errstate(over="ignore", invalid="ignore"):  # inf in a row is reported by row later
                for start in range(0, len(out), PRODUCT_ROWS):
                    part = out[start : start + PRODUCT_ROWS]
                    np.matmul(x[start : start + PRODUCT_ROWS], self.weight, out=part)
                    part += self.bias
            return out
        torch = _torch()
        if device not in self._there:
            self._there[device] = tuple(torch.from_numpy(_alias(a)).to(device) for a in (self.weight, self.bias))
        weight, bias = self._there[device]
        there = torch.from_numpy(_alias(x)).to(device)
        return np.asarray(torch.addmm(bias, there, weight).cpu().numpy())


HALF_TILE = 2**16
"""Values of float16 converted at a time; their float32 stay in the second-level cache."""


def convert(source: Array, out: Array) -> None:
    """Copy `source` into `out` of another dtype; float16 to float32 by the fastest way that gives NumPy's bits.

    Through torch where it is already loaded (importing it for that alone would cost more than it saves), else by
    shifting bits. NumPy's own way branches on every zero: on the output of a ReLU it takes five times as long.
    Billions of values a second on one core: torch 1.6, shifts 1.2, NumPy 0.8 (Gaussian) or 0.2 (ReLU).
    """
    halves = source.dtype == np.float16 and out.dtype == np.float32
    if halves and source.flags.c_contiguous and out.flags.c_contiguous:
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.from_numpy(out).copy_(torch.from_numpy(_alias(source)))
        else:
            _convert_halves(source.reshape(-1), out.reshape(-1))
    else:
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes inf, which the caller reports by row
            np.copyto(out, source, casting="unsafe")


def _convert_halves(source: Array, out: Array) -> None:
    """Move the bits of float16 to their places in float32, and scale by 2^112, the difference of the exponents."""
    bits, moved = source.view(np.int16), out.view(np.int32)
    with np.errstate(all="ignore"):
        for start in range(0, len(source), HALF_TILE):
            here = slice(start, start + HALF_TILE)
            if bits[here].max() >= 0x7C00 or bits[here].view(np.uint16).max() >= 0xFC00:  # inf or NaN
                np.copyto(out[here], source[here])
                continue
            np.copyto(moved[here], bits[here])  # the sign fills the upper half
            np.left_shift(moved[here], 13, out=moved[here])
            np.bitwise_and(moved[here], -0x70002000, out=moved[here])  # keep the sign, 5 + 10 bits, no sign copies
            np.multiply(out[here], np.float32(2.0**112), out=out[here])


def _alias(source: Array) -> Array:
    """Return a writable view of a contiguous array that may be read-only: torch warns about others. Only read it."""
    if source.flags.writeable:
        return source
    memory: Any = (ctypes.c_byte * source.nbytes).from_address(source.ctypes.data)
    return np.frombuffer(memory, dtype=source.dtype).reshape(source.shape)


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise missing_extra("torch", "torch", "another device than NumPy's") from error
