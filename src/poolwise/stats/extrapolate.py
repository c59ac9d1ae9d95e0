"""Learning curves as power laws: how many labels an accuracy needs, and what more labels would bring.

    accuracy(n) = a - b n^-c,    b >= 0, a <= 1, c on a grid

Source: the form is that of Cortes, Jackel, Solla, Vapnik & Denker, "Learning Curves: Asymptotic Values and Rate of
Convergence", NIPS 1993, equation 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poolwise.errors import ShapeError

RATES = np.geomspace(0.1, 2.0, 25)
"""Exponents that are tried."""


@dataclass(frozen=True, slots=True)
class PowerCurves:
    """One fitted curve for each row of values: asymptote a, size b and rate c, each (k,)."""

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    c: NDArray[np.float64]

    def at(self, n: float) -> NDArray[np.float64]:
        """Compute the values at n labels: (k,)."""
        out: NDArray[np.float64] = self.a - self.b * n**-self.c
        return out

    def labels_to(self, target: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Find the number of labels at which each curve reaches its target: (k,), inf where it never does.

        A flat curve at its target, up to rounding, reaches it with 0 labels.
        """
        gap = self.a - np.asarray(target, dtype=np.float64)
        with np.errstate(divide="ignore", over="ignore"):
            n = np.where(gap > 0, (self.b / np.maximum(gap, 1e-300)) ** (1 / self.c), np.inf)
        flat = (self.b < 1e-9) & (gap > -1e-9)
        return np.asarray(np.where(flat, 0.0, n), dtype=np.float64)


def fit_power(n: NDArray[np.float64], values: NDArray[np.float64], weights: NDArray[np.float64]) -> PowerCurves:
    """Fit k curves at the same numbers of labels by weighted least squares.

    Parameters
    ----------
    n : (m,) increasing numbers of labels, > 0
    values : (k, m) accuracies
    weights : (m,) or (k, m) > 0, inverse variances up to a factor

    Raises
    ------
    ShapeError
        If they do not fit together.
    """
    n, values = np.asarray(n, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or n.shape != values.shape[1:]:
        raise ShapeError(f"n has shape {n.shape} and values {values.shape}; expected (m,) and (k, m).")
    w = np.broadcast_to(np.asarray(weights, dtype=np.float64), values.shape)
    w = w / w.sum(axis=1, keepdims=True)
    best = np.full(len(values), np.inf)
    a, b, c = np.zeros(len(values)), np.zeros(len(values)), np.full(len(values), RATES[0])
    for rate in RATES:
        z = n**-rate  # (m,)
        z_mean, v_mean = w @ z, (w * values).sum(axis=1)
        spread = (w * (z - z_mean[:, None]) ** 2).sum(axis=1)
        slope = -(w * (z - z_mean[:, None]) * values).sum(axis=1) / np.maximum(spread, 1e-300)
        slope = np.maximum(slope, 0.0)
        top = v_mean + slope * z_mean
        through_one = (w * z * (1 - values)).sum(axis=1) / (w @ (z * z))  # least squares with a = 1
        slope, top = np.where(top > 1, np.maximum(through_one, 0), slope), np.minimum(top, 1.0)
        error = (w * (values - top[:, None] + slope[:, None] * z) ** 2).sum(axis=1)
        better = error < best - 1e-15
        best = np.where(better, error, best)
        a, b, c = np.where(better, top, a), np.where(better, slope, b), np.where(better, rate, c)
    return PowerCurves(a, b, c)
