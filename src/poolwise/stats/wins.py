"""On what share of data sets one strategy beats another, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from poolwise.errors import InputError
from poolwise.stats.intervals import Interval
from poolwise.stats.paired import win_tie_loss


@dataclass(frozen=True, slots=True)
class WinShares:
    """Shares of data sets won, tied and lost, each with its interval; the three means sum to 1."""

    wins: Interval
    ties: Interval
    losses: Interval


def win_shares(
    differences: Any,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    tolerance: float = 1e-12,
    n_draws: int = 10_000,
) -> WinShares:
    """Bootstrap the shares of wins, ties and losses over data sets.

    Parameters
    ----------
    differences : (n,) first minus second strategy, one for each data set; NaN are left out
    tolerance : differences up to this count as ties
    n_draws : resampled sets of data sets

    Returns
    -------
    Percentile intervals, never narrower than what n data sets can exclude: an outcome that was seen on none of them may
    have a share of 1 - ((1 - level) / 2)^(1 / n), and one that was seen on all may miss as much.

    Raises
    ------
    InputError
        If no difference is left.
    """
    d = np.asarray(differences, dtype=np.float64).ravel()
    d = d[~np.isnan(d)]
    if not len(d) or not 0 < level < 1:
        raise InputError(f"expected at least one difference and a level between 0 and 1; got {len(d)} and {level}.")
    counts = np.array(win_tie_loss(d, tolerance))
    shares = rng.multinomial(len(d), counts / len(d), size=n_draws) / len(d)  # (n_draws, 3)
    tail = (1 - level) / 2
    low, high = np.quantile(shares, [tail, 1 - tail], axis=0)
    unseen = 1 - tail ** (1 / len(d))
    low = np.where(counts == len(d), 1 - unseen, low)
    high = np.where(counts == 0, unseen, high)
    ends = zip((counts / len(d)).tolist(), low.tolist(), high.tolist(), strict=True)
    return WinShares(*(Interval(mean, first, last, level, len(d)) for mean, first, last in ends))
