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


class Affine:
    """x -> x @ weight + bias, on the device in force when it is called; constants are sent there once.

    Parameters
    ----------
    weight : (D, C) float32 or float64
    bias : (C,) of the same dtype
    """

    def __init__(self, weight: Array, bias: Array) -> None:
        self.weight = np.ascontiguousarray(weight)
        self.bias = bias
        self._there: dict[str, tuple[Any, Any]] = {}

    def __call__(self, x: Array) -> Array:
        """Return (n, C) for (n, D), as a new NumPy array of the same dtype."""
        device = _device.get()
        if device is None:
            with np.errstate(over="ignore", invalid="ignore"):  # inf in a row is reported by row later
                out: Array = x @ self.weight
                out += self.bias
            return out
        torch = _torch()
        if device not in self._there:
            self._there[device] = tuple(torch.from_numpy(_alias(a)).to(device) for a in (self.weight, self.bias))
        weight, bias = self._there[device]
        there = torch.from_numpy(_alias(x)).to(device)
        return np.asarray(torch.addmm(bias, there, weight).cpu().numpy())


def convert(source: Array, out: Array) -> None:
    """Copy `source` into `out` of another dtype; through torch where it is already loaded and faster.

    float16 to float32 takes torch a quarter of NumPy's time (4.3 against 1.2 billion values a second on one core)
    and gives the same bits. Importing torch for that alone would cost more than it saves.
    """
    torch = sys.modules.get("torch")
    if torch is not None and source.dtype == np.float16 and out.dtype == np.float32 and source.flags.c_contiguous:
        torch.from_numpy(out).copy_(torch.from_numpy(_alias(source)))
    else:
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes inf, which the caller reports by row
            np.copyto(out, source, casting="unsafe")


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
