"""What the committed benchmarks say about each strategy, small enough to travel in the package.

`measured.json` holds, for each data set of the zoo suites, what every strategy gained or lost against random.
`scripts/make_reference.py` writes it from `benchmarks/results/zoo*.parquet`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from poolwise.bench.results import Results
from poolwise.bench.table import Line, summarise

FILE = Path(__file__).with_name("measured.json")


@dataclass(frozen=True, slots=True)
class Measured:
    """One strategy on one data set of one suite, against the suite's baseline on the same seeds.

    suite, about : name and one line
    strategy, label : registered name, and what it is called in the suite (its options, its detector)
    points : mean difference of the area under the accuracy curve, in percentage points; None for the baseline itself
    low, high : its 95 % interval, not corrected; None with one seed
    verdict : "better" or "worse" at 5 % after Holm's correction for all strategies of the data set, else "unclear"
    place, of : among the strategies that read no true labels, by that area; place None for those that do
    """

    suite: str
    about: str
    dataset: str
    seeds: int
    strategy: str
    label: str
    points: float | None
    low: float | None
    high: float | None
    verdict: str
    place: int | None
    of: int


def compress(results: Sequence[Results]) -> dict[str, Any]:
    """Sum results up as the JSON document that `load` reads.

    Parameters
    ----------
    results : one for each suite, with its settings
    """
    return {"suites": [_suite(found) for found in results]}


def _suite(results: Results) -> dict[str, Any]:
    names = {row["strategy"]: row["strategy_name"] for row in results.rows}
    lines = summarise(results)
    datasets = []
    for dataset in results.datasets():
        here = [line for line in lines if line.dataset == dataset]
        honest = [line.strategy for line in here if not line.oracle]
        rows = [
            [names[line.strategy], line.strategy, *_difference(line), _place(line.strategy, honest)]
            for line in sorted(here, key=lambda line: line.strategy)
        ]
        datasets.append({"dataset": dataset, "seeds": max(line.n_seeds for line in here), "rows": rows})
    return {
        "suite": str(results.settings.get("name", "")),
        "about": str(results.settings.get("about", "")),
        "datasets": datasets,
    }


def _difference(line: Line) -> tuple[float | None, float | None, float | None, str]:
    """Points with the interval, and the verdict."""
    if line.against is None:
        return None, None, None, "baseline"
    interval = line.against.difference
    points, low, high = (
        round(100 * value, 2) if math.isfinite(value) else None
        for value in (interval.mean, interval.low, interval.high)
    )
    return points, low, high, line.against.verdict()


def _place(name: str, honest: Sequence[str]) -> int | None:
    return honest.index(name) + 1 if name in honest else None


def unpack(document: Mapping[str, Any]) -> list[Measured]:
    """List what `compress` wrote, in the order suites, data sets, labels."""
    out = []
    for suite in document["suites"]:
        for found in suite["datasets"]:
            of = sum(row[-1] is not None for row in found["rows"])
            where = (suite["suite"], suite["about"], found["dataset"], found["seeds"])
            for name, label, points, low, high, verdict, place in found["rows"]:
                out.append(Measured(*where, name, label, points, low, high, verdict, place, of))
    return out


@lru_cache(maxsize=1)
def load() -> tuple[Measured, ...]:
    """Read what is in the package."""
    return tuple(unpack(json.loads(FILE.read_text(encoding="utf-8"))))


def of_strategy(name: str, measured: Sequence[Measured]) -> list[Measured]:
    """Keep what was measured of one strategy: as it is by default, then its variants."""
    return sorted((m for m in measured if m.strategy == name), key=lambda m: (m.label != name, m.label))


def tally(name: str, measured: Sequence[Measured]) -> tuple[int, int, int] | None:
    """Count data sets on which a strategy beats the baseline, on which it loses to it, and all; None if there are none.

    Its variants count only where it was not run with default options and without a detector.
    """
    own = _own(name, measured)
    if not own or all(m.verdict == "baseline" for m in own):
        return None
    won, lost = (sum(m.verdict == verdict for m in own) for verdict in ("better", "worse"))
    return won, lost, len(own)


def conclusion(name: str, measured: Sequence[Measured], *, oracle: bool = False) -> str:
    """Say in plain words, as Markdown, where a strategy beats the baseline and where it loses to it."""
    own = _own(name, measured)
    if not own:
        return "It has no row in the committed benchmarks."
    counts = tally(name, measured)
    if counts is None:
        return "It is what the others are compared with."
    won, lost, n = counts
    parts = ["It reads true labels: it shows what could be reached and cannot be used."] if oracle else []
    if won:
        parts.append(f"It beats random on {won} of {n} data sets and loses to it on {lost or 'none'}.")
    else:
        parts.append(
            f"**It never wins:** it beats random on none of {n} data sets and loses to it on {lost or 'none'}."
        )
    first = [f"{m.dataset} ({m.suite})" for m in own if m.place == 1]
    if first:
        parts.append(f"Best of all on: {'; '.join(first)}.")
    better = {m.label for m in of_strategy(name, measured) if m.verdict == "better"} - {m.label for m in own}
    if better:
        parts.append(f"Variants that beat random somewhere: {', '.join(f'`{label}`' for label in sorted(better))}.")
    return " ".join(parts)


def _own(name: str, measured: Sequence[Measured]) -> list[Measured]:
    found = of_strategy(name, measured)
    return [m for m in found if m.label == name] or found


def written(found: Measured) -> str:
    """Write the difference and its interval, in percentage points."""
    if found.points is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.points:+.2f} [one seed]"
    return f"{found.points:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
