"""The one door to torch, opened only when it is asked for or already open.

Inside `on("cuda")` (or "cpu" for torch on the processor) that device computes the logits of heads, and what the modules
`kcenter_device`, `envelope_device` and `scores_device` have for it; NumPy is the default. Arrays go in and come out as
NumPy arrays, so nobody else knows. Whoever uses the device says so by `used`, and `notes` tells the user.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from poolwise.errors import DeviceMemoryError, OptionError, missing_extra
from poolwise.kernels.scratch import Scratch
from poolwise.types import Array


@dataclass(slots=True)
class _Device:
    """A device, and what it was used for."""

    name: str
    uses: set[str] = field(default_factory=set)


_device: ContextVar[_Device | None] = ContextVar("poolwise_device", default=None)


@contextmanager
def on(name: str | None) -> Iterator[None]:
    """Compute inside the block on a device ("cuda", "cuda:1", "cpu") where that is possible; None is NumPy.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    OptionError
        If torch does not know or cannot reach the device.
    DeviceMemoryError
        If its memory is full.
    """
    if name is None:
        token = _device.set(None)
        try:
            yield
        finally:
            _device.reset(token)
        return
    there = torch()
    try:
        there.empty(1, device=name).cpu()
    except (RuntimeError, AssertionError) as error:
        raise OptionError(
            f"device {name!r} cannot be used by torch ({str(error).splitlines()[0]}); expected cpu, cuda or "
            f"cuda:N, and this machine has {there.cuda.device_count()} CUDA devices. Leave device out to use NumPy."
        ) from error
    token = _device.set(_Device(name))
    try:
        with full_precision(there):
            yield
    except there.cuda.OutOfMemoryError as error:
        raise DeviceMemoryError(
            f"device {name!r} has too little free memory; expected about 2 GB besides the chosen rows, and got: "
            f"{str(error).splitlines()[0]} End what else runs there (see nvidia-smi), or leave device out for NumPy."
        ) from error
    finally:
        _device.reset(token)


def device() -> str | None:
    """Name the device in force; None is NumPy."""
    there = _device.get()
    return None if there is None else there.name


def used(what: str) -> None:
    """Remember that the device in force computed `what`."""
    there = _device.get()
    if there is not None:
        there.uses.add(what)


def notes() -> dict[str, str]:
    """Say in a note which device is in force and what it computed; nothing without one."""
    there = _device.get()
    if there is None:
        return {}
    return {"device": f"{there.name}: {', '.join(sorted(there.uses)) or 'not used, all of this ran on the processor'}"}


class _Precision:
    """How many blocks ask for full precision now, in all threads, and what was set before the first of them."""

    lock = threading.Lock()
    count = 0
    before: tuple[str, ...] = ()


@contextmanager
def full_precision(there: Any) -> Iterator[None]:
    """Keep float32 products float32: no TF32 and no bfloat16, whatever the program around has set."""
    with _Precision.lock:
        if not _Precision.count:
            _Precision.before = _set_precision(there, None)
        _Precision.count += 1
    try:
        yield
    finally:
        with _Precision.lock:
            _Precision.count -= 1
            if not _Precision.count:
                _set_precision(there, _Precision.before)


def _set_precision(there: Any, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """Set how float32 matrices are multiplied (None: as float32), and return what was set before.

    torch 2.9 has a switch for each library, and raises if the one switch of older versions is read after they were set.
    """
    switches = [there.backends.cuda.matmul, getattr(there.backends.mkldnn, "matmul", None)]
    if not all(hasattr(switch, "fp32_precision") for switch in switches):
        before = (str(there.get_float32_matmul_precision()),)
        there.set_float32_matmul_precision("highest" if wanted is None else wanted[0])
        return before
    before = tuple(switch.fp32_precision for switch in switches)
    for switch, value in zip(switches, wanted or ("ieee", "ieee"), strict=True):
        switch.fp32_precision = value
    return before


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
        # float64 is for few rows: turning the weights over would cost more than their product
        self.weight = np.asarray(weight, dtype=dtype, order="C" if dtype == np.float32 else "K")
        self.bias = bias.astype(dtype)
        self._there: dict[str, tuple[Any, Any]] = {}
        self._scratch = Scratch()

    def __call__(self, x: Array) -> Array:
        """Return (n, C) for (n, D), as a NumPy array of the same dtype that nobody else holds."""
        name = device()
        if name is None:
            out = self._scratch.take((len(x), self.weight.shape[1]), x.dtype)
            with np.errstate(over="ignore", invalid="ignore"):  # inf in a row is reported by row later
                step = -(-len(out) // max(1, round(len(out) / PRODUCT_ROWS)))  # even parts: a short one costs the most
                for start in range(0, len(out), max(1, step)):
                    part = out[start : start + step]
                    np.matmul(x[start : start + step], self.weight, out=part)
                    part += self.bias
            return out
        return np.asarray(self.there(torch().from_numpy(alias(x)).to(name)).cpu().numpy())

    def there(self, x: Any) -> Any:
        """Do the same to (n, D) on the device in force; the result stays there."""
        name = device()
        assert name is not None
        used("logits of the head")
        if name not in self._there:
            constants = (np.ascontiguousarray(a) for a in (self.weight, self.bias))
            weight, bias = (torch().from_numpy(alias(a)).to(name) for a in constants)
            self._there[name] = weight, bias
        weight, bias = self._there[name]
        return torch().addmm(bias, x, weight)


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
        loaded = sys.modules.get("torch")
        if loaded is not None:
            loaded.from_numpy(out).copy_(loaded.from_numpy(alias(source)))
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


def alias(source: Array) -> Array:
    """Return a writable view of a contiguous array that may be read-only: torch warns about others. Only read it."""
    if source.flags.writeable:
        return source
    memory: Any = (ctypes.c_byte * source.nbytes).from_address(source.ctypes.data)
    return np.frombuffer(memory, dtype=source.dtype).reshape(source.shape)


def torch() -> Any:
    """Import torch, or say how to install it."""
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise missing_extra("torch", "torch", "another device than NumPy's") from error
