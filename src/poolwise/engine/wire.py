"""Messages between the processes of one selection: arrays and small values as bytes, never pickled.

8 bytes     length of the header
header      JSON: the value, with arrays replaced by their number, and dtype, shape and place of each array
arrays      raw, one after the other, each beginning at a multiple of 64 bytes
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolwise.kernels.kcenter_frame import Frame
from poolwise.kernels.kcenter_window import Candidates
from poolwise.kernels.points import Points
from poolwise.types import Array, Picks, Selection

RECORDS: dict[str, type[Any]] = {record.__name__: record for record in (Candidates, Frame, Picks, Points, Selection)}
"""Dataclasses that may travel."""

ALIGN = 64

Bytes = NDArray[np.uint8]


def pack(value: Any) -> Bytes:
    """Turn numbers, text, None, arrays, and tuples, lists, dictionaries and `RECORDS` of such into bytes.

    An array that occurs twice is sent once.

    Raises
    ------
    TypeError
        If the value holds anything else.
    """
    arrays: list[Array] = []
    numbers: dict[int, int] = {}
    tree = _tree(value, arrays, numbers)
    facts: list[tuple[str, tuple[int, ...], int]] = []
    place = 0
    for array in arrays:
        facts.append((array.dtype.str, array.shape, place))
        place += -(-array.nbytes // ALIGN) * ALIGN
    header = json.dumps([tree, facts]).encode()
    begin = -(-(8 + len(header)) // ALIGN) * ALIGN
    out = np.zeros(begin + place, dtype=np.uint8)
    out[:8] = np.frombuffer(len(header).to_bytes(8, "little"), dtype=np.uint8)
    out[8 : 8 + len(header)] = np.frombuffer(header, dtype=np.uint8)
    for array, (_, _, start) in zip(arrays, facts, strict=True):
        here = out[begin + start : begin + start + array.nbytes]
        here.view(array.dtype).reshape(array.shape)[...] = array
    return out


def unpack(data: Bytes) -> Any:
    """Turn bytes back into the value; arrays are views of `data`."""
    size = int.from_bytes(data[:8].tobytes(), "little")
    tree, facts = json.loads(data[8 : 8 + size].tobytes())
    begin = -(-(8 + size) // ALIGN) * ALIGN
    arrays = []
    for name, shape, start in facts:
        dtype = np.dtype(name)
        n_bytes = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        arrays.append(data[begin + start : begin + start + n_bytes].view(dtype).reshape(shape))
    return _value(tree, arrays)


def _tree(value: Any, arrays: list[Array], numbers: dict[int, int]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.hasobject:
            raise TypeError(f"an array of {value.dtype} cannot be sent")
        if id(value) not in numbers:
            numbers[id(value)] = len(arrays)
            arrays.append(np.asarray(value))
        return {"array" if isinstance(value, np.ndarray) else "scalar": numbers[id(value)]}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_tree(item, arrays, numbers) for item in value]}
    if isinstance(value, dict):
        return {"dict": {str(key): _tree(item, arrays, numbers) for key, item in value.items()}}
    name = type(value).__name__
    if RECORDS.get(name) is type(value):
        fields = {f.name: _tree(getattr(value, f.name), arrays, numbers) for f in dataclasses.fields(value)}
        return {"record": [name, fields]}
    raise TypeError(f"a {name} cannot be sent; expected numbers, text, arrays, or containers of them")


def _value(tree: Any, arrays: list[Array]) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, inner),) = tree.items()
    if kind == "array":
        return arrays[inner]
    if kind == "scalar":
        return arrays[inner][()]
    if kind == "tuple":
        return tuple(_value(item, arrays) for item in inner)
    if kind == "list":
        return [_value(item, arrays) for item in inner]
    if kind == "dict":
        return {key: _value(item, arrays) for key, item in inner.items()}
    name, fields = inner
    return RECORDS[name](**{key: _value(item, arrays) for key, item in fields.items()})
