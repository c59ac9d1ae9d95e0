"""Labels saved: how many labels fewer a strategy needs for the accuracy that the baseline ended with.

Source: the jackknife interval is Tukey's (Miller, "The Jackknife - a Review", Biometrika 1974, section 2).
The mean curves are compared, not the curves of single seeds: where a single noisy curve first crosses a
value says little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from poolwise.errors import InputError, ShapeError
from poolwise.stats.curves import labels_to_target
from poolwise.stats.intervals import Interval, t_interval


@dataclass(frozen=True, slots=True)
class Savings:
    """What a strategy saved against a baseline.

    target : value that the baseline's mean curve ended with
    n_baseline, n_strategy : labels at which the mean curves reach it; n_strategy is inf if its never does
    saved : n_baseline - n_strategy with its interval; mean -inf if not reached, low -inf if leaving out
        a single seed would make it so, unbounded with one seed
    reached_by : seeds on which the strategy reached what the baseline ended with on that seed
    """

    target: float
    n_baseline: float
    n_strategy: float
    saved: Interval
    reached_by: int


def labels_to_reach(n_labeled: Any, curves: Any, target: Any, *, level: float = 0.95) -> Interval:
    """Find the labels at which the mean of several learning curves first reaches a target.

    The bounds are where the upper and the lower end of the t interval over seeds, made at each number of labels, get
    there: all numbers of labels at which the target is not excluded.

    Parameters
    ----------
    n_labeled : (R + 1,) increasing
    curves : (n, R + 1), one row for each seed
    target : one number, or (n,) numbers, one for each seed: what another strategy reached there
    level : confidence

    Returns
    -------
    Interval of labels; inf where the curve, or the end of its interval, never gets there within the curve. With one
    seed the bounds are the first number of labels and inf.

    Raises
    ------
    ShapeError
        If they do not fit together, or there is no curve.
    """
    gaps = np.asarray(curves, dtype=np.float64)
    aims = np.asarray(target, dtype=np.float64)
    if gaps.ndim != 2 or not len(gaps) or aims.shape not in ((), (len(gaps),)):
        raise ShapeError(
            f"curves have shape {gaps.shape} and targets {aims.shape}; expected one row per seed, and one target or "
            "one per seed."
        )
    gaps = gaps - aims.reshape(-1, 1)
    bands = [t_interval(column, level=level) for column in gaps.T]
    low, mean, high = (
        labels_to_target(n_labeled, [getattr(band, end) for band in bands], 0.0) for end in ("high", "mean", "low")
    )
    return Interval(mean, low, high, level, len(gaps))


def labels_saved(baseline: tuple[Any, Any], strategy: tuple[Any, Any], *, level: float = 0.95) -> Savings:
    """Compare two sets of learning curves at the accuracy that the baseline ended with.

    Parameters
    ----------
    baseline, strategy : (n_labeled, values), (R + 1,) increasing and (n, R + 1); row i of both is the same seed.
        The two may have different numbers of labels.
    level : confidence of the interval, from leaving out one seed at a time

    Raises
    ------
    ShapeError, InputError
        If the numbers of seeds differ, there is none, or a value is not finite.
    """
    (x0, base), (x1, ours) = ((np.asarray(x, float), np.asarray(v, float)) for x, v in (baseline, strategy))
    if base.ndim != 2 or ours.ndim != 2 or len(base) != len(ours) or not len(base):
        raise ShapeError(f"curves have shapes {base.shape} and {ours.shape}; expected one row per seed in both.")
    if not (np.isfinite(base).all() and np.isfinite(ours).all()):
        raise InputError("curves must be finite; got NaN or inf. Leave the seeds that have them out of both.")
    n = len(base)
    target, n_baseline, n_strategy = _at_target(x0, base, x1, ours)
    saved = n_baseline - n_strategy
    reached = sum(bool((ours[i] >= base[i, -1]).any()) for i in range(n))
    return Savings(target, n_baseline, n_strategy, _jackknife(x0, base, x1, ours, saved, level), reached)


def _at_target(
    x0: NDArray[np.float64], base: NDArray[np.float64], x1: NDArray[np.float64], ours: NDArray[np.float64]
) -> tuple[float, float, float]:
    mean = base.mean(axis=0)
    target = float(mean[-1])
    return target, labels_to_target(x0, mean, target), labels_to_target(x1, ours.mean(axis=0), target)


def _jackknife(
    x0: NDArray[np.float64],
    base: NDArray[np.float64],
    x1: NDArray[np.float64],
    ours: NDArray[np.float64],
    saved: float,
    level: float,
) -> Interval:
    n = len(base)
    if n == 1:
        return Interval(saved, -np.inf, np.inf, level, 1)
    without = np.empty(n)
    for i in range(n):
        _, a, b = _at_target(x0, np.delete(base, i, axis=0), x1, np.delete(ours, i, axis=0))
        without[i] = a - b
    if not np.isfinite(saved):
        return Interval(saved, -np.inf, -np.inf if not np.isfinite(without).any() else np.inf, level, n)
    finite = without[np.isfinite(without)]
    spread = float(np.sqrt((n - 1) / n * ((finite - finite.mean()) ** 2).sum())) if len(finite) else 0.0
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * spread
    return Interval(saved, saved - half if len(finite) == n else -np.inf, saved + half, level, n)
