"""Balls of one radius around rows, and which targets each holds: as lists of edges where balls are small, else as bits.

Greedy coverage asks which targets one ball holds, and how many of some targets each ball holds. Lists of edges answer
both in time that follows the edges, but take 4 bytes an edge; a table of bits takes one bit a pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from poolwise.kernels.blocks import iter_blocks, load_rows
from poolwise.kernels.distances import sq_distances, sq_norms
from poolwise.kernels.neighbors import radius_graph
from poolwise.types import Array, BoolArray, FloatArray, IndexArray, Rows

PAIRS = 2**20
"""Pairs of rows and targets measured together."""

ROUNDING = 1e-5
"""Squared distances this close to the squared radius, relative to the squared lengths, are computed in float64."""


class Balls(Protocol):
    """Balls around n rows over m targets."""

    def of(self, row: int) -> Array:
        """Targets inside the ball of one row, ascending."""

    def count(self, targets: Array) -> Array:
        """How many of some distinct targets each ball holds, (n,)."""

    def sizes(self) -> IndexArray:
        """How many targets each ball holds, (n,)."""


@dataclass(frozen=True, slots=True)
class EdgeBalls:
    """Balls around n rows over the same n rows, as lists: those inside the ball of row i are
    targets[starts[i] : starts[i + 1]], and as distance is symmetric, these are also the balls that hold row i.

    starts : (n + 1,) int64
    targets : (E,) int32
    """

    starts: IndexArray
    targets: Array

    def of(self, row: int) -> Array:
        return self.targets[self.starts[row] : self.starts[row + 1]]

    def count(self, targets: Array) -> Array:
        out = np.zeros(len(self.starts) - 1, dtype=np.int64)
        for target in targets:
            out[self.of(target)] += 1
        return out

    def sizes(self) -> IndexArray:
        return np.diff(self.starts)


@dataclass(frozen=True, slots=True)
class BitBalls:
    """Balls around n rows over m targets, one bit a pair.

    bits : (m, ceil(n / 8)) uint8, most significant bit first
    held : (n,) int64, targets inside each ball
    """

    bits: Array
    held: IndexArray

    def of(self, row: int) -> Array:
        return np.flatnonzero(self.bits[:, row >> 3] & (128 >> (row & 7)))

    def count(self, targets: Array) -> Array:
        n = len(self.held)
        out = np.zeros(n, dtype=np.int64)
        step = int(np.clip(2**22 // max(n, 1), 1, 255))  # 255 ones fit a byte
        for start in range(0, len(targets), step):
            inside = np.unpackbits(self.bits[targets[start : start + step]], axis=1, count=n)
            out += np.add.reduce(inside, axis=0, dtype=np.uint8)
        return out

    def sizes(self) -> IndexArray:
        return self.held


def within(x: FloatArray, centres: FloatArray, radius: float) -> BoolArray:
    """Which rows lie in the closed balls around which centres, (n, m); what rounding might decide, float64 does."""
    d2 = sq_distances(x, centres)
    slack = ROUNDING * float(sq_norms(x).max(initial=0.0) + sq_norms(centres).max(initial=0.0))
    inside: BoolArray = d2 <= radius * radius
    row, column = np.nonzero(np.abs(d2 - radius * radius) <= slack)
    step = max(1, PAIRS // max(1, x.shape[1]))
    for start in range(0, len(row), step):
        i, j = row[start : start + step], column[start : start + step]
        inside[i, j] = sq_norms(x[i].astype(np.float64) - centres[j]) <= radius * radius
    return inside


def edge_balls(rows: Rows, items: IndexArray, radius: float) -> EdgeBalls:
    """Balls of all items over all items. Time n^2 D, memory 28 bytes an edge while building, then 4."""
    return EdgeBalls(*radius_graph(rows, items, radius))


def bit_balls(rows: Rows, items: IndexArray, targets: IndexArray, radius: float) -> BitBalls:
    """Balls of all items over some targets. Time n m D; memory n m / 8 bytes and the rows of the targets."""
    centres = load_rows(rows, targets)
    bits = np.empty((len(targets), -(-len(items) // 8)), dtype=np.uint8)
    held = np.empty(len(items), dtype=np.int64)
    step = max(8, PAIRS // max(1, len(targets)) // 8 * 8)
    for start, block in iter_blocks(rows, items, block_rows=step):
        inside = within(block, centres, radius)
        held[start : start + len(block)] = np.count_nonzero(inside, axis=1)
        bits[:, start // 8 : start // 8 + -(-len(block) // 8)] = np.packbits(inside.T, axis=1)
    return BitBalls(bits, held)
