"""Areas under learning curves."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from poolwise.errors import ShapeError


def aubc(n_labeled: ArrayLike, accuracy: ArrayLike) -> float:
    """Area under the budget curve: trapezoids over the labels spent, divided by the labels spent.

    Parameters
    ----------
    n_labeled : (R+1,) labels known when each accuracy was measured, increasing; the first is the initial set
    accuracy : (R+1,) any unit

    Returns
    -------
    The mean height of the curve; a constant curve gives its constant.

    Source: Zhan et al., IJCAI 2021, released code; not rounded.
    """
    x, a = _curve(n_labeled, accuracy)
    return float(np.sum(np.diff(x) * (a[1:] + a[:-1]) / 2) / (x[-1] - x[0]))


def aubc_noinit(n_labeled: ArrayLike, accuracy: ArrayLike) -> float:
    """Area that leaves out the initial model but divides by the whole budget: biased low, for tables only.

    Source: the convention of Lu, Li & Lin, arXiv 2306.08954; a constant curve a over Q single queries gives
    a (Q-1)/Q.
    """
    x, a = _curve(n_labeled, accuracy)
    return float(np.sum(np.diff(x)[1:] * (a[2:] + a[1:-1]) / 2) / (x[-1] - x[0]))


def _curve(n_labeled: ArrayLike, accuracy: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, a = np.asarray(n_labeled, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    if x.shape != a.shape or x.ndim != 1 or len(x) < 2 or np.any(np.diff(x) <= 0):
        raise ShapeError(
            f"a curve needs at least two points, with as many accuracies as label counts, and increasing counts; "
            f"got shapes {x.shape} and {a.shape}. Pass one accuracy for each count."
        )
    return x, a
