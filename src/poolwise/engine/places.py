"""Where arrays are: a description small enough to send, from which another process opens the same rows.

Arrays in files are opened there by path. Small ones travel inside the description; large ones in memory are first
written to a scratch folder.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from poolwise.errors import EngineError
from poolwise.kernels.blocks import LinearLogits, LogProbs, ShardedRows, Softmax, iter_blocks
from poolwise.kernels.posterior import SampledProbs
from poolwise.kernels.samples import MeanProbs
from poolwise.store.formats import BFloat16Rows
from poolwise.types import Array, Rows

INLINE_BYTES = 2**20
"""Arrays in memory up to this size travel inside the message."""

COMPUTED: dict[str, Any] = {"softmax": Softmax, "logprobs": LogProbs, "mean": MeanProbs}
"""Rows computed from one other array."""

Spill = Callable[[str, Rows], Path]
"""Writes rows in memory to a new .npy file and returns its path, or raises what the user should do instead."""


def spill_to(folder: Path) -> Spill:
    """Write arrays that are in memory into a folder."""

    def spill(name: str, rows: Rows) -> Path:
        path = folder / f"{name}-{len(list(folder.glob('*.npy')))}.npy"
        if isinstance(rows, np.ndarray):
            np.save(path, rows, allow_pickle=False)
            return path
        out = np.lib.format.open_memmap(path, "w+", rows.dtype, rows.shape)
        for start, block in iter_blocks(rows, dtype=rows.dtype):
            out[start : start + len(block)] = block
        out.flush()
        return path

    return spill


def describe(arrays: Mapping[str, Any], spill: Spill) -> dict[str, Any]:
    """Describe arrays; one that several others are computed from is described, and later opened, once."""
    nodes: list[dict[str, Any]] = []
    numbers: dict[int, tuple[int, Any]] = {}  # id: number, and the array itself, lest its id be given to another
    names = {name: _node(name, value, nodes, numbers, spill) for name, value in arrays.items()}
    return {"nodes": nodes, "names": names}


def reopen(description: Mapping[str, Any]) -> dict[str, Any]:
    """Open what `describe` described.

    Raises
    ------
    EngineError
        If a file is not there.
    """
    opened: list[Any] = []
    for node in description["nodes"]:
        opened.append(_open(node, opened))
    return {name: opened[number] for name, number in description["names"].items()}


def _node(name: str, value: Any, nodes: list[dict[str, Any]], numbers: dict[int, tuple[int, Any]], spill: Spill) -> int:
    if id(value) not in numbers:
        node = _described(name, value, lambda part: _node(name, part, nodes, numbers, spill), spill)
        nodes.append(node)
        numbers[id(value)] = len(nodes) - 1, value
    return numbers[id(value)][0]


def _described(name: str, value: Any, number_of: Callable[[Any], int], spill: Spill) -> dict[str, Any]:
    if value is None:
        return {"kind": "none"}
    if isinstance(value, LinearLogits):
        parts = {"embeddings": value.embeddings, "head_weight": value.head_weight, "head_bias": value.head_bias}
        return {"kind": "linear"} | {key: number_of(part) for key, part in parts.items()}
    if isinstance(value, SampledProbs):
        parts = {"embeddings": value.embeddings, "weights": value.heads[0], "biases": value.heads[1]}
        return {"kind": "sampled"} | {key: number_of(part) for key, part in parts.items()}
    for kind, computed in COMPUTED.items():
        if isinstance(value, computed):
            return {"kind": kind, "source": number_of(value.source)}
    if isinstance(value, ShardedRows):
        return {"kind": "parts", "parts": [number_of(part) for part in value.parts]}
    if isinstance(value, BFloat16Rows):
        return {"kind": "bfloat16", "bits": number_of(value.bits)}
    if isinstance(value, np.ndarray):
        place = file_of(value)
        if place is not None:
            return place
        if value.nbytes <= INLINE_BYTES:
            return {"kind": "inline", "array": value}
    path = spill(name, value)
    place = file_of(np.load(path, mmap_mode="r", allow_pickle=False))
    assert place is not None
    return place


def file_of(array: Array) -> dict[str, Any] | None:
    """Say which bytes of which file a memory-mapped array, or a contiguous part of one, shows; None if none."""
    node: Any = array
    while node is not None and not isinstance(getattr(node, "_mmap", None), mmap.mmap):
        node = node.base if isinstance(node, np.ndarray) else None
    if node is None or node.filename is None or not array.size:
        return None
    order = "C" if array.flags.c_contiguous else "F" if array.flags.f_contiguous else None
    if order is None:
        return None
    begin = np.frombuffer(node._mmap, dtype=np.uint8).__array_interface__["data"][0]
    start = array.__array_interface__["data"][0] - begin
    if not 0 <= start <= len(node._mmap) - array.nbytes:
        return None
    offset = node.offset - node.offset % mmap.ALLOCATIONGRANULARITY + start
    return {
        "kind": "file",
        "path": str(Path(node.filename).absolute()),
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "offset": int(offset),
        "order": order,
    }


def _open(node: Mapping[str, Any], opened: list[Any]) -> Any:
    kind = node["kind"]
    if kind == "none":
        return None
    if kind == "inline":
        return node["array"]
    if kind == "linear":
        return LinearLogits(*(opened[node[key]] for key in ("embeddings", "head_weight", "head_bias")))
    if kind == "sampled":
        return SampledProbs(*(opened[node[key]] for key in ("embeddings", "weights", "biases")))
    if kind in COMPUTED:
        return COMPUTED[kind](opened[node["source"]])
    if kind == "parts":
        return ShardedRows([opened[number] for number in node["parts"]])
    if kind == "bfloat16":
        return BFloat16Rows(opened[node["bits"]])
    try:
        shape = tuple(node["shape"])
        return np.memmap(node["path"], np.dtype(node["dtype"]), "r", node["offset"], shape, node["order"])
    except (OSError, ValueError) as error:
        raise EngineError(
            f"a worker cannot open {node['path']!r} ({error}); every machine must see the arrays at the same path. "
            "Put them on a disk that all machines mount."
        ) from error
