"""Compare two result files: the same data sets and strategies, before and after a change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from scipy import stats

from poolwise.bench.areas import read_curves
from poolwise.bench.results import Results
from poolwise.errors import InputError
from poolwise.stats.curves import aubc
from poolwise.stats.intervals import Interval, t_interval
from poolwise.stats.paired import holm, paired_p
from poolwise.types import plain


@dataclass(frozen=True, slots=True)
class Change:
    """How the area under the curve of one strategy on one data set changed from A to B.

    difference : mean of B minus mean of A, with its interval
    paired : True if the runs of each seed began with the same items; else the two are compared as independent
    p_holm : corrected over all changes
    """

    dataset: str
    strategy: str
    a: float
    b: float
    difference: Interval
    p: float
    p_holm: float
    paired: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """All changes, and what only one of the two files has (dataset, strategy)."""

    changes: tuple[Change, ...]
    only_a: tuple[tuple[str, str], ...]
    only_b: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the machine form that `--json` prints."""
        out: dict[str, Any] = plain(asdict(self))
        return out


def compare(a: Results | str | Path, b: Results | str | Path, *, level: float = 0.95) -> Changes:
    """Compare two benchmarks.

    Parameters
    ----------
    a, b : results, or their files or output folders, also those of the tabular benchmark
    level : confidence of the intervals

    Raises
    ------
    InputError
        If a file cannot be read, nothing is in both, or the curves cover different numbers of labels.
    """
    old, new = (read_curves(x) for x in (a, b))
    pairs = [[(dataset, name) for dataset in x.datasets() for name in x.strategies(dataset)] for x in (old, new)]
    both = [pair for pair in pairs[0] if pair in pairs[1]]
    if not both:
        raise InputError("the two results have no strategy on the same data set in common; nothing to compare.")
    found = [_change(old.curves(*pair), new.curves(*pair), *pair, level) for pair in both]
    corrected = holm([p for *_, p, _ in found])
    return Changes(
        tuple(
            Change(*pair, mean_a, mean_b, interval, p, float(p_holm), paired)
            for pair, (mean_a, mean_b, interval, p, paired), p_holm in zip(both, found, corrected, strict=True)
        ),
        tuple(pair for pair in pairs[0] if pair not in pairs[1]),
        tuple(pair for pair in pairs[1] if pair not in pairs[0]),
    )


Curves = Mapping[int, Sequence[Mapping[str, Any]]]


def _change(
    old: Curves, new: Curves, dataset: str, strategy: str, level: float
) -> tuple[float, float, Interval, float, bool]:
    labels = [sorted({tuple(row["n_labeled"] for row in rows) for rows in curves.values()}) for curves in (old, new)]
    if labels[0] != labels[1]:
        raise InputError(
            f"{strategy} on {dataset}: the curves cover {labels[0][0][0]} to {labels[0][0][-1]} labels and "
            f"{labels[1][0][0]} to {labels[1][0][-1]}, or different steps; areas compare only over the same labels."
        )
    areas = [{seed: _area(rows) for seed, rows in curves.items()} for curves in (old, new)]
    seeds = sorted(set(areas[0]) & set(areas[1]))
    same = [seed for seed in seeds if old[seed][0]["labeled_digest"] == new[seed][0]["labeled_digest"]]
    if same and len(same) == len(seeds):
        x, y = (np.array([part[seed] for seed in seeds]) for part in areas)
        return float(x.mean()), float(y.mean()), t_interval(y - x, level=level), paired_p(y - x), True
    x, y = (np.array(list(part.values())) for part in areas)
    return float(x.mean()), float(y.mean()), *_welch(x, y, level), False


def _area(rows: Sequence[Mapping[str, Any]]) -> float:
    return aubc([row["n_labeled"] for row in rows], [row["accuracy"] for row in rows])


def _welch(x: np.ndarray, y: np.ndarray, level: float) -> tuple[Interval, float]:
    """Interval and two-sided p for the difference of two independent means with unequal spreads."""
    mean, n = float(y.mean() - x.mean()), min(len(x), len(y))
    if n < 2:
        return Interval(mean, -np.inf, np.inf, level, n), 1.0
    if np.ptp(x) == 0 and np.ptp(y) == 0:
        return Interval(mean, mean, mean, level, n), 1.0 if mean == 0 else 0.0
    test = stats.ttest_ind(y, x, equal_var=False)
    low, high = test.confidence_interval(level)
    return Interval(mean, float(low), float(high), level, n), float(test.pvalue)


def to_rich(changes: Changes) -> Table:
    """Build the table for a terminal; areas in percent."""
    table = Table(title="AUBC of A and B")
    for i, text in enumerate(("Dataset", "Strategy", "A", "B", "B minus A [95 %]", "p (Holm)", "Paired")):
        table.add_column(text, justify="left" if i < 2 else "right")
    for c in changes.changes:
        d = c.difference
        table.add_row(
            c.dataset,
            c.strategy,
            f"{100 * c.a:.2f}",
            f"{100 * c.b:.2f}",
            f"{100 * d.mean:+.2f} "
            + (f"[{100 * d.low:+.2f}, {100 * d.high:+.2f}]" if np.isfinite(d.low) else "[one seed]"),
            f"{c.p_holm:.2g}",
            "yes" if c.paired else "no",
        )
    return table
