"""Items sorted by how much one class beats the others: the line on which GALAXY and DIRECT search.

Source: Zhang, Katz-Samuels & Nowak, "GALAXY: Graph-based Active Learning at the Extreme", ICML 2022, section 3;
Nuggehalli, Zhang, Jain & Nowak, "DIRECT: Deep Active Learning under Imbalance and Label Noise", 2024, section 4.
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.sampling import row_blocks
from poolwise.types import FloatArray, IndexArray, Rows

MAX_VALUES = 2**26
"""Scores held at once; beyond it only the rarest classes get a line."""

TIE_SHARE = 1e-8
"""Separates items of which a class is the most probable one, as in the public code of GALAXY."""


class Lines:
    """Lines of some classes over labeled and unlabeled items.

    Parameters
    ----------
    probs : (N, C)
    items : (n,) int64 sorted pool indices
    counts : (C,) labeled items of each class; the rarest classes get a line if there is no room for all

    Attributes
    ----------
    classes : (K,) the classes that have a line, rarest first
    """

    def __init__(self, probs: Rows, items: IndexArray, counts: IndexArray) -> None:
        room = max(1, MAX_VALUES // len(items))
        self.classes: IndexArray = np.argsort(counts, kind="stable")[:room]
        self._values: FloatArray = np.empty((len(self.classes), len(items)), dtype=np.float32)
        for start, pool, blocks, local in row_blocks({"probs": probs}, items, np.float64):
            p = blocks["probs"][local]
            best = p.max(axis=1, keepdims=True)
            own = p[:, self.classes]
            self._values[:, start : start + len(pool)] = (own - best + TIE_SHARE * best).T

    def order(self, row: int) -> IndexArray:
        """Positions of the items along the line of `classes[row]`, likeliest member first; lower index among equals."""
        values = self._values[row]
        return np.lexsort((np.arange(len(values)), -values))
