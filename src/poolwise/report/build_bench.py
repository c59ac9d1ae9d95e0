"""From the rows of a benchmark to its report."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolwise.errors import InputError
from poolwise.report.html import THIN, interval, number, points
from poolwise.report.model import (
    Comparison,
    Curve,
    DatasetResults,
    Estimate,
    Fact,
    QueryCost,
    Report,
    Saving,
    Setup,
)
from poolwise.report.page import write_page
from poolwise.report.versions import versions
from poolwise.stats.curves import aubc_within
from poolwise.stats.intervals import Interval, t_interval
from poolwise.stats.paired import holm, paired_differences, paired_p
from poolwise.stats.savings import labels_saved

BASELINE = "random"
REQUIRED = ("dataset", "strategy", "seed", "n_labeled", "accuracy")


def bench_report(
    results: Path | str | Iterable[Mapping[str, Any]],
    out: Path,
    *,
    title: str = "Benchmark",
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Path:
    """Write the report of a benchmark.

    Parameters
    ----------
    results : a Parquet file, or rows with dataset, strategy, seed, n_labeled, accuracy and optionally
        mean_class_accuracy, class_entropy, seconds_query, seconds_fit; one row per round
    out : where the HTML file goes
    settings, seed : shown under "How to make this again"

    Raises
    ------
    InputError
        If there are no rows, a column is missing, or an accuracy is not a number.
    """
    report = describe_bench(_rows(results), title=title, setup=Setup(dict(settings or {}), seed, versions()))
    return write_page(report, Path(out))


def describe_bench(rows: Sequence[Mapping[str, Any]], *, title: str, setup: Setup) -> Report:
    """Turn rows into what the page shows; datasets in the order of the rows, strategies best first."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(str(row["dataset"]), []).append(row)
    datasets = tuple(_dataset(name, _runs(its)) for name, its in grouped.items())
    n_seeds = max(data.n_seeds for data in datasets)
    strategies = {str(row["strategy"]) for row in rows}
    return Report(
        title=title,
        subtitle=", ".join(grouped),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        facts=(
            Fact("Datasets", number(len(datasets))),
            Fact("Strategies", number(len(strategies))),
            Fact("Seeds", number(n_seeds), "same splits and first labels for all"),
            Fact("Labels per run", f"up to {number(max(int(row['n_labeled']) for row in rows))}"),
        ),
        sentences=tuple(sentence for data in datasets for sentence in conclusions(data)),
        datasets=datasets,
        setup=setup,
    )


def conclusions(data: DatasetResults) -> list[str]:
    """Say in plain words which strategies beat random and which lose to it."""
    if not data.comparisons:
        return [f"{data.name}: nothing can be compared, because random labeling was not run on the same seeds."]
    told = []
    for verdict, verb in (("better", "beat"), ("worse", "lose to")):
        rows = [row for row in data.comparisons if row.verdict == verdict]
        rows.sort(key=lambda row: -abs(_gap(row).value))
        if rows:
            told.append(f"On {data.name}, {_counted(rows, verb)}")
    told += _proved_saving(data)
    unclear = [row.strategy for row in data.comparisons if row.verdict == "unclear"]
    if unclear:
        told.append(f"On {data.name}, no difference to random labeling was shown for {_and(unclear)}.")
    if not any(row.verdict == "worse" for row in data.comparisons):
        told.append(f"On {data.name}, no strategy was shown to lose to random labeling.")
    return told


def _counted(rows: Sequence[Comparison], verb: str) -> str:
    """Name the strategy with the largest difference with its interval, then the others."""
    first, others = rows[0], [row.strategy for row in rows[1:]]
    gap = _gap(first)
    size = f"{points(gap.value)} points of AUBC, 95{THIN}% interval {interval(gap, points)}"
    if not others:
        return f"{first.strategy} {'beats' if verb == 'beat' else 'loses to'} random labeling ({size})."
    return f"{len(rows)} strategies {verb} random labeling: {first.strategy} by most ({size}), then {_and(others)}."


def _proved_saving(data: DatasetResults) -> list[str]:
    """Tell the saving of the strategy with the best AUBC among those whose interval excludes zero."""
    for row in data.savings:
        saved = row.saved
        if row.n_strategy is not None and saved is not None and saved.low is not None and saved.low > 0:
            return [
                f"On {data.name}, {row.strategy} needed {_whole(row.n_strategy)} labels for the accuracy that random "
                f"labeling had with {_whole(row.n_random)}: {_whole(saved.value)} fewer "
                f"({interval(saved, _whole)})."
            ]
    return []


def _gap(row: Comparison) -> Estimate:
    return row.difference or Estimate(0.0)


def _whole(value: float | None) -> str:
    return number(None if value is None else round(value))


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


@dataclass(frozen=True, slots=True)
class _Run:
    """One strategy and seed: rows by number of labels, increasing."""

    strategy: str
    seed: Any
    rows: tuple[Mapping[str, Any], ...]

    @property
    def n_labeled(self) -> list[int]:
        return [int(row["n_labeled"]) for row in self.rows]

    def values(self, column: str) -> list[float]:
        return [_float(row.get(column)) for row in self.rows]


def _rows(results: Path | str | Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    if isinstance(results, str | Path):
        import pyarrow.parquet

        rows: list[Mapping[str, Any]] = pyarrow.parquet.read_table(results).to_pylist()
    else:
        rows = list(results)
    if not rows:
        raise InputError("the benchmark has no results yet; run it with `poolwise bench SUITE.toml` first.")
    for place, row in enumerate(rows):
        missing = [name for name in REQUIRED if name not in row]
        if missing:
            raise InputError(
                f"row {place} of the results has no column {missing[0]!r}; expected {', '.join(REQUIRED)}. "
                "Make the results with `poolwise bench`."
            )
        if not math.isfinite(_float(row["accuracy"])):
            raise InputError(f"row {place} of the results has accuracy {row['accuracy']!r}; expected a number.")
    return rows


def _runs(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[Any, _Run]]:
    """Sort rows into strategy -> seed -> run; of several rows with equally many labels the last counts."""
    cells: dict[str, dict[Any, dict[int, Mapping[str, Any]]]] = {}
    for row in rows:
        cells.setdefault(str(row["strategy"]), {}).setdefault(row["seed"], {})[int(row["n_labeled"])] = row
    return {
        strategy: {seed: _Run(strategy, seed, tuple(by_n[n] for n in sorted(by_n))) for seed, by_n in seeds.items()}
        for strategy, seeds in cells.items()
    }


def _dataset(name: str, runs: dict[str, dict[Any, _Run]]) -> DatasetResults:
    comparisons = _comparisons(runs)
    place = {row.strategy: i for i, row in enumerate(comparisons)}
    ordered = sorted(runs, key=lambda strategy: place.get(strategy, len(place)))
    return DatasetResults(
        name,
        max(len(seeds) for seeds in runs.values()),
        curves=tuple(curve for s in ordered if (curve := _curve(s, runs[s], "accuracy")) is not None),
        comparisons=comparisons,
        savings=tuple(saving for s in ordered if s != BASELINE and (saving := _saving(s, runs)) is not None),
        entropy=tuple(curve for s in ordered if (curve := _curve(s, runs[s], "class_entropy")) is not None),
        costs=tuple(cost for s in ordered if (cost := _cost(s, runs[s])) is not None),
    )


def _curve(strategy: str, seeds: Mapping[Any, _Run], column: str) -> Curve | None:
    """Average over seeds as far as every seed got; None where a seed has no value at all."""
    table = _table(list(seeds.values()), column)
    if table is None:
        return None
    n_labeled, values = table
    spans = [t_interval(values[:, i]) for i in range(len(n_labeled))]
    banded = len(seeds) > 1
    return Curve(
        strategy,
        tuple(n_labeled),
        tuple(span.mean for span in spans),
        tuple(max(span.low, 0.0) for span in spans) if banded else (),
        tuple(min(span.high, 1.0) for span in spans) if banded else (),
    )


def _table(runs: Sequence[_Run], column: str) -> tuple[list[int], NDArray[np.float64]] | None:
    """Put the curves of several seeds on common numbers of labels: (R + 1,), (n, R + 1).

    The range is the one that all seeds cover; a seed without a row at some number is interpolated.
    """
    curves = [
        [(n, v) for n, v in zip(run.n_labeled, run.values(column), strict=True) if math.isfinite(v)] for run in runs
    ]
    if not all(curves):
        return None
    first, last = max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)
    grid = sorted({n for curve in curves for n, _ in curve if first <= n <= last})
    if not grid:
        return None
    return grid, np.array([np.interp(grid, [n for n, _ in curve], [v for _, v in curve]) for curve in curves])


def _shared(runs: Mapping[str, Mapping[Any, _Run]], strategy: str) -> list[Any]:
    """List the seeds that a strategy and the baseline have both run, over ranges of labels that meet."""
    theirs = runs.get(BASELINE, {})
    return [
        seed
        for seed, run in runs[strategy].items()
        if seed in theirs
        and max(run.n_labeled[0], theirs[seed].n_labeled[0]) <= min(run.n_labeled[-1], theirs[seed].n_labeled[-1])
    ]


def _comparisons(runs: Mapping[str, Mapping[Any, _Run]]) -> tuple[Comparison, ...]:
    """Compare each strategy with the baseline on the seeds both have; best AUBC first."""
    others = [strategy for strategy in runs if strategy != BASELINE and _shared(runs, strategy)]
    if BASELINE not in runs or not others:
        return ()
    gaps = {strategy: _gaps(runs, strategy) for strategy in others}
    corrected = holm([paired_p(gap) for gap in gaps.values()])
    rows = [_comparison(BASELINE, list(runs[BASELINE].values()), None, None)]
    for (strategy, gap), p in zip(gaps.items(), corrected.tolist(), strict=True):
        shared = [runs[strategy][seed] for seed in _shared(runs, strategy)]
        known = len(gap) > 1
        rows.append(_comparison(strategy, shared, _estimate(t_interval(gap)), p if known else None))
    return tuple(sorted(rows, key=lambda row: (-row.aubc.value, row.strategy)))


def _gaps(runs: Mapping[str, Mapping[Any, _Run]], strategy: str) -> NDArray[np.float64]:
    """(n,) AUBC minus that of the baseline, seed by seed, up to the last number of labels that both have."""
    ours, theirs = [], []
    for seed in _shared(runs, strategy):
        a, b = runs[strategy][seed], runs[BASELINE][seed]
        budget = min(a.n_labeled[-1], b.n_labeled[-1])
        ours.append(aubc_within(a.n_labeled, a.values("accuracy"), budget))
        theirs.append(aubc_within(b.n_labeled, b.values("accuracy"), budget))
    return paired_differences(ours, theirs)


def _comparison(strategy: str, runs: Sequence[_Run], gap: Estimate | None, p: float | None) -> Comparison:
    areas = [aubc_within(run.n_labeled, run.values("accuracy"), run.n_labeled[-1]) for run in runs]
    by_class = [run.values("mean_class_accuracy")[-1] for run in runs]
    return Comparison(
        strategy,
        len(runs),
        _estimate(t_interval(areas)),
        statistics.fmean(run.values("accuracy")[-1] for run in runs),
        statistics.fmean(by_class) if all(map(math.isfinite, by_class)) else None,
        gap,
        p,
    )


def _saving(strategy: str, runs: Mapping[str, Mapping[Any, _Run]]) -> Saving | None:
    shared = _shared(runs, strategy)
    theirs = _table([runs[BASELINE][seed] for seed in shared], "accuracy") if shared else None
    ours = _table([runs[strategy][seed] for seed in shared], "accuracy") if shared else None
    if theirs is None or ours is None:
        return None
    found = labels_saved(theirs, ours)
    reached = math.isfinite(found.n_strategy)
    return Saving(
        strategy,
        found.target,
        found.n_baseline,
        found.n_strategy if reached else None,
        _estimate(found.saved) if reached else None,
        found.reached_by,
        len(shared),
    )


def _cost(strategy: str, seeds: Mapping[Any, _Run]) -> QueryCost | None:
    def middle(column: str) -> float | None:
        known = [v for run in seeds.values() for v in run.values(column) if math.isfinite(v)]
        return statistics.median(known) if known else None

    query, fit = middle("seconds_query"), middle("seconds_fit")
    return None if query is None and fit is None else QueryCost(strategy, query, fit)


def _estimate(interval: Interval) -> Estimate:
    """Keep what is bounded; an interval that is open above and below is none."""
    if not math.isfinite(interval.high):
        return Estimate(interval.mean)
    return Estimate(interval.mean, interval.low, interval.high)


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)
