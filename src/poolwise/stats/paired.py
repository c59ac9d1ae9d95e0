"""Paired comparisons: every strategy against a baseline on the same seeds, corrected for looking often.

Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
Statistics 1979.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from poolwise.errors import InputError, ShapeError, unknown_name
from poolwise.stats.intervals import Interval, t_interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """One strategy minus the baseline.

    difference : mean paired difference with its interval, not corrected
    p : two-sided paired t test
    p_holm : p corrected for all comparisons made together
    wins, ties, losses : seeds on which it was better, equal, worse
    """

    name: str
    difference: Interval
    p: float
    p_holm: float
    wins: int
    ties: int
    losses: int

    def verdict(self, alpha: float = 0.05) -> Literal["better", "worse", "unclear"]:
        """Say what the corrected test allows to say; nothing while the interval holds 0."""
        if self.p_holm >= alpha or not self.difference.excludes(0.0):
            return "unclear"
        return "better" if self.difference.mean > 0 else "worse"


def compare_to_baseline(
    values: Mapping[str, Any], baseline: str, *, level: float = 0.95, tolerance: float = 1e-12
) -> list[Comparison]:
    """Compare each strategy with the baseline, seed by seed.

    Parameters
    ----------
    values : name -> (n,) results; position i is the same seed, split and initial pool for every name
    baseline : one of the names
    level : confidence of the intervals
    tolerance : differences up to this count as ties

    Returns
    -------
    One comparison for each other name, in the given order.

    Raises
    ------
    UnknownNameError
        If the baseline is not among the names.
    ShapeError, InputError
        If the numbers of results differ, there are none, or one is not finite.
    """
    if baseline not in values:
        raise unknown_name("baseline", baseline, values)
    others = [name for name in values if name != baseline]
    differences = [paired_differences(values[name], values[baseline]) for name in others]
    ps = [paired_p(d) for d in differences]
    return [
        Comparison(name, t_interval(d, level=level), p, float(p_holm), *win_tie_loss(d, tolerance))
        for name, d, p, p_holm in zip(others, differences, ps, holm(ps), strict=True)
    ]


def paired_differences(a: Any, b: Any) -> NDArray[np.float64]:
    """Subtract results of the same seeds: (n,)."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ShapeError(f"paired results have shapes {x.shape} and {y.shape}; every seed needs one result in both.")
    if not (np.isfinite(x) & np.isfinite(y)).all():
        place = int(np.flatnonzero(~(np.isfinite(x) & np.isfinite(y)))[0])
        raise InputError(
            f"paired results must be finite; position {place} holds {x[place]} and {y[place]}. "
            "Leave that seed out of both."
        )
    return x - y


def paired_p(differences: Any) -> float:
    """Two-sided paired t test that the mean difference is 0.

    Returns
    -------
    p; 1 with a single difference or when all are 0. Equal differences that are not 0 give p = 0.
    """
    d = np.asarray(differences, dtype=np.float64)
    if not np.isfinite(d).all():
        raise InputError(f"differences must be finite; got {d.tolist()[:8]}. Leave those seeds out.")
    if len(d) < 2 or not d.any():
        return 1.0
    spread = float(d.std(ddof=1))
    if spread <= 1e-12 * float(np.abs(d).max()):
        return 0.0
    return float(2 * stats.t.sf(abs(d.mean()) / spread * np.sqrt(len(d)), len(d) - 1))


def holm(ps: Any) -> NDArray[np.float64]:
    """Correct p values so that all claims at p < alpha hold together with error alpha.

    Parameters
    ----------
    ps : (m,) p values

    Returns
    -------
    (m,) corrected values in the same order: the i-th smallest times m - i + 1, made increasing, at most 1.
    """
    p = np.asarray(ps, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise InputError(f"p values must be one dimension of numbers from 0 to 1; got {p.tolist()}.")
    order = np.argsort(p, kind="stable")
    out = np.empty(len(p))
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return out


def win_tie_loss(differences: Any, tolerance: float = 1e-12) -> tuple[int, int, int]:
    """Count differences above, within and below the tolerance."""
    d = np.asarray(differences, dtype=np.float64)
    wins, losses = int((d > tolerance).sum()), int((d < -tolerance).sum())
    return wins, len(d) - wins - losses, losses
