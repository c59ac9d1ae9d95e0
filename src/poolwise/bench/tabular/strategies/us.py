"""Uncertainty sampling with the model that is evaluated ("US-C", compatible).

Source: Lewis & Gale, "A Sequential Algorithm for Training Text Classifiers", SIGIR 1994; the pairing of query
model and evaluation model is the finding of Lu, Li & Lin, arXiv 2306.08954.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from poolwise.bench.tabular.registry import State, tabular
from poolwise.types import IndexArray


def margins(decision: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn decision values into margins: |value| for two classes, else the gap of the two largest.

    Parameters
    ----------
    decision : (n,) or (n, C)

    Returns
    -------
    (n,) float64 >= 0; small = uncertain.
    """
    if decision.ndim == 1:
        return np.abs(decision)
    top_two = np.partition(decision, -2, axis=1)[:, -2:]  # (n, 2), ascending
    gap: NDArray[np.float64] = top_two[:, 1] - top_two[:, 0]
    return gap


@tabular("us", family="uncertainty", paper="Lewis & Gale, SIGIR 1994", column="US-C", cost="instant")
def us(state: State) -> IndexArray:
    """Take the items with the smallest margin of the evaluation model."""
    return state.best(-margins(state.fit().decision()[state.unlabeled]))
