"""Sum a benchmark up: one line for each data set and strategy, compared with the baseline on the same seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from rich.table import Table

from poolwise.bench.results import Results
from poolwise.errors import InputError, unknown_name
from poolwise.stats.curves import aubc, labels_to_target
from poolwise.stats.intervals import Interval, t_interval
from poolwise.stats.paired import Comparison, compare_to_baseline, holm
from poolwise.stats.savings import labels_to_reach
from poolwise.types import plain

Curves = Mapping[int, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Line:
    """Summary of one strategy on one data set. Means are over seeds.

    aubc : mean area under the accuracy curve, with its interval over seeds
    against : paired difference of the area from the baseline; None for the baseline itself
    oracle : reads true labels, so it is a reference, not a strategy to use
    n_seeds, n_final : seeds, and labels after the last round
    final, mean_class, entropy : accuracy, mean per-class accuracy and class entropy of the labels after the last round
    labels_to_match : labels at which the mean curve reaches the final accuracy of the baseline's mean curve; inf if
        it never does
    match_low, match_high : interval of these labels, seed by seed against the baseline's final accuracy; high is inf
        where the curve may never get there. Of the baseline itself, where its curve can first have been as high.
    seconds_query : mean processor seconds of one query, on one thread; NaN if there was none
    foreign : share of the labels after the last round that were answered "not of interest"
    """

    dataset: str
    strategy: str
    oracle: bool
    n_seeds: int
    n_final: int
    aubc: Interval
    against: Comparison | None
    final: float
    mean_class: float
    entropy: float
    labels_to_match: float
    match_low: float
    match_high: float
    seconds_query: float
    foreign: float = 0.0


def summarise(results: Results, baseline: str | None = None, *, level: float = 0.95) -> list[Line]:
    """Summarise results; within a data set the largest area comes first.

    Parameters
    ----------
    results : rows of a benchmark
    baseline : strategy to compare with; default what the suite says, else "random"
    level : confidence of all intervals

    Raises
    ------
    UnknownNameError
        If the baseline did not run on a data set.
    InputError
        If there are no rows.
    """
    if not results.rows:
        raise InputError("there are no benchmark results to summarise; run `poolwise bench SUITE` first.")
    name = baseline or str(results.settings.get("baseline", "random"))
    return [line for dataset in results.datasets() for line in _summarise_dataset(results, dataset, name, level)]


def _summarise_dataset(results: Results, dataset: str, baseline: str, level: float) -> list[Line]:
    curves = {name: results.curves(dataset, name) for name in results.strategies(dataset)}
    if baseline not in curves:
        raise unknown_name(f"baseline of data set {dataset!r}", baseline, curves)
    areas = {name: {seed: _area(rows) for seed, rows in found.items()} for name, found in curves.items()}
    compared = _correct([_against(areas, name, baseline, level) for name in curves if name != baseline])
    target = _mean_curve(curves[baseline])[1][-1]
    lines = []
    for name, found in curves.items():
        match = _match(found, curves[baseline], level)
        last = [rows[-1] for rows in found.values()]
        bought = [row for rows in found.values() for row in rows if row["chosen_by"] == "strategy"]
        lines.append(
            Line(
                dataset=dataset,
                strategy=name,
                oracle=bool(last[0]["oracle"]),
                n_seeds=len(found),
                n_final=int(last[0]["n_labeled"]),
                aubc=t_interval(list(areas[name].values()), level=level),
                against=compared.get(name),
                final=_mean(last, "accuracy"),
                mean_class=_mean(last, "mean_class_accuracy"),
                entropy=_mean(last, "class_entropy"),
                labels_to_match=labels_to_target(*_mean_curve(found), target),
                match_low=match.low,
                match_high=match.high,
                seconds_query=_mean(bought, "seconds_query_cpu") if bought else float("nan"),
                foreign=float(np.mean([row["n_foreign"] / row["n_labeled"] for row in last])),
            )
        )
    return sorted(lines, key=lambda line: (-line.aubc.mean, line.strategy))


def _area(rows: Sequence[Mapping[str, Any]]) -> float:
    return aubc([row["n_labeled"] for row in rows], [row["accuracy"] for row in rows])


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def _mean_curve(found: Curves) -> tuple[list[float], list[float]]:
    """Average the curves of all seeds; they have the same numbers of labels, as they come from one suite."""
    curves = list(found.values())
    return (
        [float(row["n_labeled"]) for row in curves[0]],
        np.mean([[row["accuracy"] for row in rows] for rows in curves], axis=0).tolist(),
    )


def _match(found: Curves, baseline: Curves, level: float) -> Interval:
    """Labels at which a strategy reaches the baseline's final accuracy, on the seeds that both have."""
    seeds = sorted(set(found) & set(baseline))
    labels = [row["n_labeled"] for row in found[seeds[0]]]
    ours = [[row["accuracy"] for row in found[seed]] for seed in seeds]
    return labels_to_reach(labels, ours, [baseline[seed][-1]["accuracy"] for seed in seeds], level=level)


def _against(areas: Mapping[str, Mapping[int, float]], name: str, baseline: str, level: float) -> Comparison:
    """Compare over the seeds that both have; a run that failed takes its partner out."""
    seeds = sorted(set(areas[name]) & set(areas[baseline]))
    if not seeds:
        raise InputError(f"{name!r} and {baseline!r} have no seed in common; run the benchmark again to complete it.")
    pair = {key: [areas[key][seed] for seed in seeds] for key in (baseline, name)}
    return compare_to_baseline(pair, baseline, level=level)[0]


def _correct(comparisons: Sequence[Comparison]) -> dict[str, Comparison]:
    """Correct the p values of all strategies of one data set together."""
    corrected = holm([c.p for c in comparisons])
    return {c.name: replace(c, p_holm=float(p)) for c, p in zip(comparisons, corrected, strict=True)}


def losers(lines: Sequence[Line]) -> dict[str, list[str]]:
    """List, for each data set, the strategies that are worse than the baseline after correction."""
    return _with_verdict(lines, lambda line: line.against is not None and line.against.verdict() == "worse")


def winners(lines: Sequence[Line]) -> dict[str, list[str]]:
    """List, for each data set, the strategies that are better than the baseline after correction; no oracles."""
    return _with_verdict(
        lines, lambda line: not line.oracle and line.against is not None and line.against.verdict() == "better"
    )


def _with_verdict(lines: Sequence[Line], holds: Callable[[Line], bool]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {line.dataset: [] for line in lines}
    for line in lines:
        if holds(line):
            out[line.dataset].append(line.strategy)
    return out


HEADER = (
    "Strategy",
    "AUBC [95 %]",
    "minus {baseline} [95 %]",
    "p (Holm)",
    "Final accuracy",
    "Per-class accuracy",
    "Label entropy",
    "Labels to match",
    "CPU s per query",
)
FOREIGN = "Not of interest"
"""One more column where some answers were."""


SIGN = {"better": " +", "worse": " -", "unclear": ""}


def header_of(lines: Sequence[Line], baseline: str) -> list[str]:
    """Name the columns of one data set."""
    return [text.format(baseline=baseline) for text in HEADER] + [FOREIGN] * any(line.foreign for line in lines)


def cells_of(line: Line, columns: int = len(HEADER)) -> tuple[str, ...]:
    """Write a line as the texts of the first columns of `header_of`; accuracies, areas and shares in percent."""
    against = line.against
    cells = (
        f"{line.strategy} (oracle)" if line.oracle else line.strategy,
        _percent(line.aubc),
        "-" if against is None else _percent(against.difference, signed=True),
        "-" if against is None else f"{against.p_holm:.2g}{SIGN[against.verdict()]}",
        f"{100 * line.final:.2f}",
        f"{100 * line.mean_class:.2f}",
        f"{line.entropy:.3f}",
        f"{line.labels_to_match:.0f}" if np.isfinite(line.labels_to_match) else f"> {line.n_final}",
        f"{line.seconds_query:.3f}" if np.isfinite(line.seconds_query) else "-",
        f"{100 * line.foreign:.1f}",
    )
    return cells[:columns]


def _percent(interval: Interval, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    if not np.isfinite(interval.low):
        return f"{100 * interval.mean:{sign}.2f} [one seed]"
    return f"{100 * interval.mean:{sign}.2f} [{100 * interval.low:{sign}.2f}, {100 * interval.high:{sign}.2f}]"


def to_markdown(lines: Sequence[Line], results: Results) -> str:
    """Write the table of each data set, and say which strategies beat the baseline and which lose to it."""
    baseline = _baseline_of(lines)
    worse, better = losers(lines), winners(lines)
    parts = []
    for dataset in dict.fromkeys(line.dataset for line in lines):
        here = [line for line in lines if line.dataset == dataset]
        first = results.column("n_labeled", dataset=dataset, round=0)
        header = header_of(here, baseline)
        rows = [header, ["---", *["---:"] * (len(header) - 1)], *[cells_of(line, len(header)) for line in here]]
        parts += [
            f"## {dataset}",
            f"{first[0]} to {here[0].n_final} labels, {max(line.n_seeds for line in here)} seeds.",
            "\n".join("| " + " | ".join(row) + " |" for row in rows),
            f"Better than {baseline}: {', '.join(better[dataset]) or 'none'}.",
            f"**Loses to {baseline}: {', '.join(worse[dataset]) or 'none'}.**",
        ]
    for dataset, strategy, seed, message in results.failures:
        parts.append(f"Failed: {strategy} on {dataset}, seed {seed}: {message}")
    return "\n\n".join([*parts, NOTES.format(baseline=baseline)]) + "\n"


NOTES = """AUBC: mean accuracy over the labels bought (trapezoid area divided by the range of labels), in percent,
with the t interval over seeds. The difference is paired: same seed, same initial items. Its interval is not corrected;
the p value is, for all strategies of a data set together (Holm); + better and - worse than {baseline} at 5 %. Labels to
match: where the mean curve reaches the final accuracy of {baseline}. Label entropy: 1 if all classes have equally many
labels. CPU s per query: processor time of one thread. Not of interest: percentage of the labels bought that taught no
class. An oracle reads true labels: it is a reference, not a strategy to use. Intervals speak of other seeds (initial
items and random choices) on the same pool, and of other pools only where the suite draws one for each seed (`resample`
or `long_tail` below 1)."""


def to_dict(lines: Sequence[Line], results: Results) -> dict[str, Any]:
    """Return the machine form that `--json` prints."""
    rows = []
    for line in lines:
        row = asdict(line)
        if line.against is not None:
            row["against"]["verdict"] = line.against.verdict()
        rows.append(row)
    out: dict[str, Any] = plain(
        {
            "table": rows,
            "baseline": _baseline_of(lines),
            "losers": losers(lines),
            "winners": winners(lines),
            "failures": [
                {"dataset": dataset, "strategy": strategy, "seed": seed, "message": message}
                for dataset, strategy, seed, message in results.failures
            ],
            "settings": dict(results.settings),
            "versions": dict(results.versions),
        }
    )
    return out


def to_rich(lines: Sequence[Line]) -> list[Table]:
    """Build one table for each data set, for a terminal."""
    tables = []
    baseline = _baseline_of(lines)
    for dataset in dict.fromkeys(line.dataset for line in lines):
        here = [line for line in lines if line.dataset == dataset]
        header = header_of(here, baseline)
        table = Table(title=dataset)
        for i, text in enumerate(header):
            told = text.replace(" ", "\n", 1) if i > 3 else text  # so that intervals keep to one line
            table.add_column(told, justify="left" if i == 0 else "right")
        for line in here:
            table.add_row(*cells_of(line, len(header)))
        tables.append(table)
    return tables


def _baseline_of(lines: Sequence[Line]) -> str:
    return next((line.strategy for line in lines if line.against is None), "random")
