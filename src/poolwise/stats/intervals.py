"""Intervals for the mean of a few independent values, such as differences of paired runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from poolwise.errors import InputError, ShapeError


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the bounds of its confidence interval; infinite where one value says nothing about spread."""

    mean: float
    low: float
    high: float
    level: float
    n: int

    def excludes(self, value: float) -> bool:
        """Say whether `value` lies outside."""
        return not self.low <= value <= self.high


def t_interval(values: Any, *, level: float = 0.95) -> Interval:
    """Student's interval for a mean.

    Parameters
    ----------
    values : (n,) independent values, n >= 1
    level : confidence, between 0 and 1

    Returns
    -------
    Interval; unbounded if n = 1, a single point if all values are equal.
    """
    x = _values(values, level)
    mean = float(x.mean())
    if len(x) == 1:
        return Interval(mean, -np.inf, np.inf, level, 1)
    half = float(stats.t.ppf(0.5 + level / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half, level, len(x))


def bootstrap_interval(values: Any, *, rng: np.random.Generator, level: float = 0.95, n_draws: int = 4000) -> Interval:
    """Bias-corrected and accelerated bootstrap interval for a mean.

    Source: Efron, "Better Bootstrap Confidence Intervals", JASA 1987, section 3.

    Parameters
    ----------
    values : (n,) independent values; below about 15 the t interval covers better
    rng : source of the resampling
    n_draws : resampled means; memory n_draws * n numbers

    Returns
    -------
    Interval; unbounded if n = 1, a single point if all values are equal.
    """
    x = _values(values, level)
    n, mean = len(x), float(x.mean())
    if n == 1:
        return Interval(mean, -np.inf, np.inf, level, 1)
    if np.ptp(x) == 0:
        return Interval(mean, mean, mean, level, n)
    means = np.sort(x[rng.integers(0, n, size=(n_draws, n))].mean(axis=1))
    below = ((means < mean).sum() + 0.5 * (means == mean).sum()) / n_draws
    bias = stats.norm.ppf(np.clip(below, 1 / n_draws, 1 - 1 / n_draws))
    # The mean without value i departs from the mean by (mean - x_i) / (n - 1).
    jack = x - mean
    acceleration = float((jack**3).sum() / (6 * (jack**2).sum() ** 1.5))
    tails = bias + stats.norm.ppf([0.5 - level / 2, 0.5 + level / 2])
    shares = stats.norm.cdf(bias + tails / (1 - acceleration * tails))
    low, high = np.quantile(means, shares)
    return Interval(mean, float(low), float(high), level, n)


def _values(values: Any, level: float) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1:
        raise ShapeError(f"values have shape {x.shape}; expected one dimension.")
    if not len(x) or not np.isfinite(x).all():
        raise InputError(f"an interval needs at least one value, all finite; got {x.tolist()[:8]}.")
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1; got {level!r}.")
    return x
