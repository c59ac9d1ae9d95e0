"""Intervals that stay valid although one looks again after every batch, and the model changes in between.

Each look gets its own part of the error that is allowed in all, and an exact interval at that level. By
the union bound all intervals of a run cover together, whatever the models, however similar
or different, and whenever one stops; a confidence sequence (Howard, Ramdas, McAuliffe & Sekhon, Annals of
Statistics 2021) promises this only for one model that is watched.

Source: Clopper & Pearson, Biometrika 1934 (exact interval); the spending of error over looks follows Lan & DeMets,
Biometrika 1983, with a spending function of our own: the share spent after t looks is t / (t + PACE).
"""

from __future__ import annotations

from scipy import stats

from poolwise.errors import InputError
from poolwise.stats.intervals import Interval

PACE = 10
"""Half of the error is spent after so many looks."""


def alpha_at(look: int, level: float = 0.95) -> float:
    """Say what error one look may make; over all looks 1, 2, ... they sum to 1 - level.

    Raises
    ------
    InputError
        If `look` is below 1 or `level` not between 0 and 1.
    """
    if look < 1 or not 0 < level < 1:
        raise InputError(f"look must be 1 or more and level between 0 and 1; got {look} and {level}.")
    return (1 - level) * (PACE / (PACE + look - 1) - PACE / (PACE + look))


def share_interval(right: int, n: int, *, look: int = 1, level: float = 0.95) -> Interval:
    """Bound a share of which `right` of `n` random items have the property.

    Parameters
    ----------
    right, n : 0 <= right <= n; n = 0 gives (0, 1)
    look : 1, 2, ...; how often intervals of this run were computed, this time included
    level : confidence of all looks together

    Returns
    -------
    Interval; exact for independent draws, cautious for draws without replacement.
    """
    if not 0 <= right <= n:
        raise InputError(f"expected 0 <= right <= n; got {right} of {n}.")
    tail = alpha_at(look, level) / 2
    low = float(stats.beta.ppf(tail, right, n - right + 1)) if right > 0 else 0.0
    high = float(stats.beta.isf(tail, right + 1, n - right)) if right < n else 1.0
    return Interval(right / n if n else float("nan"), low, high, level, n)
