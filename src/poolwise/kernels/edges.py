"""What float32 leaves open in D2 sampling, settled in float64: the bin of a bound, and which vector is the longest.

Rows are drawn by bins, a bin for each power of two. A bound that rounding carries over the edge of its bin changes the
ranks of all rows behind it and hence the draws, and one in some millions lies so close. Such bounds, and the first
places of the lengths, are computed again in float64: then the picks are the same whatever the order of the sums, in
blocks of any size, in NumPy and on any device.
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.kcenter_exact import rounded
from poolwise.kernels.vectors import Vectors
from poolwise.types import FloatArray, IndexArray

DOUBT = 1e-5
"""Doubt about a float32 squared distance, as a share of |a|^2 + |b|^2: twice `points.ROUNDING`, and head room."""

MOST_DOUBT = 1e-3
"""Doubt about it as a share of itself; a distance that cancels more is computed directly."""

AT_ONCE = 256
"""Vectors in float64."""

SCANNED = 2**18
"""Bounds looked at together."""


def near_edges(m: FloatArray, sq: FloatArray) -> IndexArray:
    """Positions of the bounds (n,) float32 that may lie on the other side of a power of two; sq: squared lengths.

    Only |a|^2 is needed: |b| <= |a| + sqrt(m) gives |a|^2 + |b|^2 <= 3 |a|^2 + 2 m.
    """
    found = []
    for start in range(0, len(m), SCANNED):
        value, length = m[start : start + SCANNED], sq[start : start + SCANNED]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            doubt = np.fmin(DOUBT * (3 * (length / value) + 2), MOST_DOUBT)
            part = np.frexp(value)[0]  # in [1/2, 1)
            near = ((part * (1 + doubt) >= 1) | (part * (1 - doubt) < 0.5)) & (value > 0) & (value < np.inf)
        found.append(np.flatnonzero(near) + start)
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def longest(vectors: Vectors) -> tuple[float, int]:
    """Largest squared length of measured vectors, and its position, the lowest among equals; (-1, 0) without any."""
    best = float(vectors.sq.max(initial=-1.0))
    if best <= 0:
        return best, 0
    at = np.flatnonzero(vectors.sq >= best * (1 - 2 * DOUBT))
    found = (-1.0, 0)
    for start in range(0, len(at), AT_ONCE):
        here = at[start : start + AT_ONCE]
        sq = rounded(vectors.exact(here).sq)
        pos = int(sq.argmax())
        found = max(found, (float(sq[pos]), int(here[pos])), key=lambda pair: pair[0])
    return found
