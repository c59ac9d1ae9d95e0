"""Given: scores that the user has computed decide how foreign items are.

Source: none; any detector of another program can stand behind the numbers.
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.blocks import load_rows
from poolwise.registry import detector
from poolwise.types import FloatArray, IndexArray


@detector("given", paper="-", use_when="You have scores of your own: pass them as ood_scores.")
def given(ood_scores: FloatArray, items: IndexArray) -> FloatArray:
    """Score items by the numbers that were passed.

    Parameters
    ----------
    ood_scores : (N,) how foreign each item is; higher = more foreign, on any scale
    items : (n,) int64 pool indices, sorted

    Returns
    -------
    (n,) float64.
    """
    return np.asarray(load_rows(ood_scores, items, np.float64))
