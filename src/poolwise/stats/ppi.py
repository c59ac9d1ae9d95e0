"""Prediction-powered mean: a model's own guess of an outcome on many items, corrected on a few checked ones.

Source: Angelopoulos, Bates, Fannjiang, Jordan & Zrnic, "Prediction-powered inference", Science 2023; the
weight is that of Angelopoulos, Duchi & Zrnic, "PPI++", arXiv:2311.01453, section 6.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from poolwise.errors import InputError, ShapeError
from poolwise.stats.intervals import Interval


def ppi_mean(
    outcomes: Any,
    guesses: Any,
    guesses_all: Any,
    *,
    alpha: float = 0.05,
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """Estimate the mean outcome of a population.

        weight = cov(Y, f) / ((1 + n / N) var f)
        mean   = weight mean_N f + mean_n (Y - weight f)
        se^2   = var_n(Y - weight f) / n + weight^2 var_N(f) / N

    Parameters
    ----------
    outcomes, guesses : (n,) checked outcomes Y and the guesses f for the same items, drawn at random; n >= 2
    guesses_all : (N,) guesses for a random sample of the population, or all of it
    alpha : error of the interval, which is normal: good from some 30 checked items on
    bounds : smallest and largest possible outcome. The interval, not the mean, then counts z^2 / 2 more outcomes at
        each of them, as Agresti & Coull (1998) do for a share: without, it misses too often where nearly all outcomes
        are equal (12.6 % of the time instead of 5 % for a model that is right on 97 % of 150 items).

    Raises
    ------
    ShapeError, InputError
        If the numbers do not fit together, there are too few, or one is not finite.
    """
    y, f, big = (np.asarray(v, dtype=np.float64) for v in (outcomes, guesses, guesses_all))
    if y.ndim != 1 or y.shape != f.shape or big.ndim != 1 or len(y) < 2 or not len(big):
        raise ShapeError(
            f"outcomes have shape {y.shape}, guesses {f.shape} and {big.shape}; expected (n,), (n,) and (N,), n >= 2."
        )
    if not all(np.isfinite(values).all() for values in (y, f, big)):
        raise InputError("outcomes and guesses must be finite; got NaN or inf. Leave those items out of both.")
    n, spread = len(y), float(f.var(ddof=1))
    weight = 0.0
    if spread > 1e-12:
        weight = float(np.cov(y, f, ddof=1)[0, 1]) / ((1 + n / len(big)) * spread)
    rest = y - weight * f  # (n,)
    mean = weight * float(big.mean()) + float(rest.mean())
    z = float(stats.norm.isf(alpha / 2))
    count, centre, spread = float(n), float(rest.mean()), float(rest.var(ddof=1))
    if bounds is not None:
        ends = np.array(bounds) - weight * float(f.mean())
        count, each = n + z**2, z**2 / 2
        centre = (float(rest.sum()) + each * float(ends.sum())) / count
        spread = (float(((rest - centre) ** 2).sum()) + each * float(((ends - centre) ** 2).sum())) / count
    centre += weight * float(big.mean())
    half = z * float(np.sqrt(spread / count + weight**2 * big.var() / len(big)))
    low, high = min(mean, centre - half), max(mean, centre + half)
    if bounds is not None:
        low, high = max(low, min(mean, bounds[0])), min(high, max(mean, bounds[1]))
    return Interval(mean, low, high, 1 - alpha, n)
