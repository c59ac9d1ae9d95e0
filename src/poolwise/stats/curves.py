"""Learning curves: the area under one, labels needed to reach a value.

Source: Zhan, Liu, Li & Chan, "A Comparative Survey: Benchmarking for Pool-based Active Learning", IJCAI
2021, pp. 4679-4686 (AUBC, area under the budget curve). `aubc_noinit`: the published tables of Lu, Li & Lin,
"Re-Benchmarking Pool-Based Active Learning for Binary Classification", arXiv:2306.08954.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolwise.errors import InputError, ShapeError


def aubc(n_labeled: Any, values: Any) -> float:
    """Average a learning curve over labels: the trapezoid area divided by the range of labels.

    Parameters
    ----------
    n_labeled : (R + 1,) increasing numbers of labels; steps may differ
    values : (R + 1,) accuracy or another metric at each

    Returns
    -------
    A number in the unit of `values`; of a constant curve its value, of a single point that value.

    Raises
    ------
    ShapeError, InputError
        If the two do not fit together, are empty, or the numbers of labels do not increase.
    """
    x, a = _curve(n_labeled, values)
    return float(a[0]) if len(x) == 1 else _area(x, a) / float(x[-1] - x[0])


def aubc_within(n_labeled: Any, values: Any, budget: float) -> float:
    """Average the part of a curve up to `budget` labels, interpolating linearly where it ends.

    Raises
    ------
    InputError
        If the budget is below the first or above the last number of labels.
    """
    x, a = _curve(n_labeled, values)
    if not x[0] <= budget <= x[-1]:
        raise InputError(f"budget must be between {x[0]:g} and {x[-1]:g} labels, where the curve is; got {budget:g}.")
    before = x < budget
    return aubc(np.append(x[before], budget), np.append(a[before], np.interp(budget, x, a)))


def aubc_noinit(n_labeled: Any, values: Any) -> float:
    """Compute the area as tables of arXiv:2306.08954 have it: without the first interval, but divided by all labels.

    For comparison with those tables only: a constant curve `a` of Q single queries gives a (Q - 1) / Q.
    """
    x, a = _curve(n_labeled, values)
    return 0.0 if len(x) < 2 else _area(x[1:], a[1:]) / float(x[-1] - x[0])


def labels_to_target(n_labeled: Any, values: Any, target: float) -> float:
    """Find the number of labels at which a curve first reaches `target`, interpolating linearly.

    Returns
    -------
    A number of labels; the first one if the curve begins at or above the target, inf if it never gets there.
    """
    x, a = _curve(n_labeled, values)
    reached = np.flatnonzero(a >= target)
    if not len(reached):
        return float("inf")
    i = int(reached[0])
    if i == 0:
        return float(x[0])
    return float(x[i - 1] + (target - a[i - 1]) / (a[i] - a[i - 1]) * (x[i] - x[i - 1]))


def _area(x: NDArray[np.float64], a: NDArray[np.float64]) -> float:
    return float(((a[1:] + a[:-1]) / 2 * np.diff(x)).sum())


def _curve(n_labeled: Any, values: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, a = np.asarray(n_labeled, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.shape != a.shape:
        raise ShapeError(
            f"n_labeled has shape {x.shape} and values {a.shape}; expected one value per number of labels."
        )
    if not len(x):
        raise InputError("a learning curve needs at least one point; got none.")
    if not (np.diff(x) > 0).all():
        raise InputError(f"n_labeled must increase; got {x.tolist()[:8]}.")
    return x, a
