"""Which classes lie on both sides of the boundary nearest to a row, kept from when the distance was computed."""

from __future__ import annotations

import numpy as np

from poolwise.kernels.blocks import iter_blocks
from poolwise.kernels.scores import Boundaries
from poolwise.types import FloatArray, IndexArray, Rows


class Sides:
    """Float64 distances to the nearest boundary, and the classes on both sides of it; logits are computed once.

    Parameters
    ----------
    logits : (N, C)
    """

    def __init__(self, boundaries: Boundaries, logits: Rows) -> None:
        self.boundaries, self.logits = boundaries, logits
        self._known = [np.empty((3, 0), dtype=np.int64)]  # pool indices, predicted classes, rivals

    def nearness(self, indices: IndexArray) -> FloatArray:
        """Return minus the distances of (n,) pool indices, float64."""
        scores = np.empty(len(indices), dtype=np.float64)
        for start, block in iter_blocks(self.logits, indices, dtype=np.float64):
            here = slice(start, start + len(block))
            distances, predicted, rival = self.boundaries.distances(block)
            scores[here] = -distances[np.arange(len(block)), predicted]
            self._known.append(np.stack([indices[here], predicted, rival]))
        return scores

    def of(self, indices: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Return the predicted classes of (n,) pool indices, and those behind the nearest boundaries."""
        self.nearness(np.setdiff1d(indices, np.concatenate(self._known, axis=1)[0]))
        known, predicted, rival = np.concatenate(self._known, axis=1)
        order = np.argsort(known)
        found = order[np.searchsorted(known, indices, sorter=order)]
        return predicted[found], rival[found]
