"""How many seeds a benchmark needs to see a difference, from the spread that a run of it showed.

Source: power of the paired t test; the cautious number uses an upper 80 % bound of the spread, as Browne, "On the use
of a pilot sample for sample size determination", Statistics in Medicine 14, 1995, advises, since a spread measured on
few seeds is often too small.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from poolwise.bench.areas import read_curves
from poolwise.bench.results import Results
from poolwise.errors import InputError, OptionError, unknown_name
from poolwise.stats.curves import aubc
from poolwise.stats.paired import paired_differences
from poolwise.stats.ranks import power, seeds_needed
from poolwise.types import plain

SURE = 0.8
"""Confidence that the spread lies below the bound behind the cautious number."""
LEAST_SPREAD = 1e-9
"""Differences that vary less do not vary."""


@dataclass(frozen=True, slots=True)
class Need:
    """How many seeds one strategy needs on one data set. Areas and spreads are shares, not points.

    n_seeds : pairs that the spread was measured on
    difference : mean area of the strategy minus that of the baseline
    spread : standard deviation of the paired differences; None with one seed
    power : probability that these seeds show the effect; None with one seed
    seeds, seeds_cautious : seeds at which the effect is seen with the wanted probability, if the spread is the measured
        one, and if it is the upper 80 % bound of it; None with one seed
    """

    dataset: str
    strategy: str
    n_seeds: int
    difference: float
    spread: float | None
    power: float | None
    seeds: int | None
    seeds_cautious: int | None


@dataclass(frozen=True, slots=True)
class Needs:
    """All lines, and what was asked: the effect as a share, the probability wanted, the level of the test."""

    baseline: str
    effect: float
    wanted: float
    alpha: float
    lines: tuple[Need, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the machine form that `--json` prints."""
        out: dict[str, Any] = plain(asdict(self))
        return out


def seeds_for(
    source: Results | str | Path,
    *,
    baseline: str | None = None,
    effect: float = 0.005,
    wanted: float = 0.8,
    alpha: float = 0.05,
) -> Needs:
    """Say how many paired seeds would show a difference in area from the baseline.

    Parameters
    ----------
    source : as for `areas.read_curves`
    baseline : default what the suite says, else random
    effect : true difference that should be seen, as a share: 0.005 is half a point
    wanted : probability of seeing it
    alpha : level of the two-sided paired t test

    Raises
    ------
    UnknownNameError
        If the baseline did not run.
    InputError
        If no strategy shares a data set and a seed with the baseline.
    """
    if not effect > 0 or not np.isfinite(effect):
        raise OptionError(f"effect must be above 0; got {effect}. Name the smallest difference that matters.")
    results = read_curves(source)
    name = baseline or str(results.settings.get("baseline", "random"))
    known = list(dict.fromkeys(row["strategy"] for row in results.rows))
    if name not in known:
        raise unknown_name("baseline", name, known)
    lines = []
    for dataset in results.datasets():
        base = _areas(results, dataset, name)
        for strategy in results.strategies(dataset):
            ours = _areas(results, dataset, strategy)
            seeds = sorted(set(base) & set(ours))
            if strategy != name and seeds:
                d = paired_differences([ours[seed] for seed in seeds], [base[seed] for seed in seeds])
                lines.append(_need(dataset, strategy, d, effect, wanted, alpha))
    if not lines:
        raise InputError(f"no strategy shares a data set and a seed with {name!r}; run one beside it.")
    return Needs(name, effect, wanted, alpha, tuple(lines))


def _areas(results: Results, dataset: str, strategy: str) -> dict[int, float]:
    return {
        seed: aubc([row["n_labeled"] for row in rows], [row["accuracy"] for row in rows])
        for seed, rows in results.curves(dataset, strategy).items()
    }


def _need(dataset: str, strategy: str, differences: np.ndarray, effect: float, wanted: float, alpha: float) -> Need:
    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return Need(dataset, strategy, n, mean, None, None, None, None)
    spread = float(differences.std(ddof=1))
    bound = spread * float(np.sqrt((n - 1) / stats.chi2.ppf(1 - SURE, n - 1)))
    return Need(
        dataset,
        strategy,
        n,
        mean,
        spread,
        power(n, max(spread, LEAST_SPREAD), effect, alpha),
        *(seeds_needed(max(s, LEAST_SPREAD), effect, wanted, alpha) for s in (spread, bound)),
    )
