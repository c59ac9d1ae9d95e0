"""Finished runs of a suite as arrays of paired results: settings x strategies x seeds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import poolwise  # noqa: F401  (registers every strategy)
from poolwise.registry import STRATEGIES
from poolwise.stats.curves import aubc

BASELINE, SUBJECT = "random", "auto"
TRANSFERRED = "best candidate of the other settings"
"""A control: in each setting, the single candidate that gains most over random on average over all others."""
LEAST_SEEDS = 2
FEW_LABELS = 2.0
"""A setting that begins with at most so many labels a class has a low budget."""

Rows = list[dict[str, Any]]
Runs = dict[tuple[str, str, int], Rows]


@dataclass(frozen=True, slots=True)
class Part:
    """Strategies that are finished on the same seeds of all settings.

    area : (settings, strategies, seeds) in points
    candidates : positions of single strategies other than random
    seconds : (strategies,) mean processor seconds of a query
    groups : name -> (settings,) bool, such as those with a low budget
    """

    settings: list[str]
    strategies: list[str]
    seeds: list[int]
    area: np.ndarray
    candidates: list[int]
    seconds: np.ndarray
    groups: dict[str, np.ndarray]

    @property
    def mean(self) -> np.ndarray:
        """(settings, strategies)."""
        out: np.ndarray = self.area.mean(axis=2)
        return out

    def at(self, name: str) -> int:
        """Position of a strategy."""
        return self.strategies.index(name)

    def of(self, name: str) -> np.ndarray:
        """(settings, seeds) of one strategy."""
        out: np.ndarray = self.area[:, self.at(name)]
        return out

    @property
    def regret(self) -> np.ndarray:
        """How far each strategy is behind the best candidate in hindsight, (settings, strategies)."""
        out: np.ndarray = self.mean[:, self.candidates].max(axis=1)[:, None] - self.mean
        return out


def read_runs(folder: Path) -> Runs:
    """Read every finished run: (setting, strategy, seed) -> its rows in the order of the rounds."""
    runs: Runs = {}
    for path in sorted((folder / "cells").glob("*.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        runs[rows[0]["dataset"], rows[0]["strategy"], rows[0]["seed"]] = sorted(rows, key=lambda row: row["round"])
    return runs


def parts(runs: Runs) -> list[Part]:
    """Group the strategies by the seeds on which they are finished; the part with most seeds first."""
    settings, names, seeds = (sorted({key[i] for key in runs}) for i in range(3))
    done = {k: [s for s in seeds if all((d, k, s) in runs for d in settings)] for k in names}
    out: list[Part] = []
    for count in sorted({len(of) for of in done.values() if len(of) >= LEAST_SEEDS}, reverse=True):
        members = [k for k in names if len(done[k]) >= count]
        common = [s for s in seeds if all(s in done[k] for k in members)]
        if {BASELINE, SUBJECT} <= set(members) and len(common) >= LEAST_SEEDS:
            out.append(_part(runs, settings, members, common))
    if not out:
        raise SystemExit(
            f"no {LEAST_SEEDS} seeds are finished on all {len(settings)} settings by {BASELINE} and {SUBJECT}; "
            "wait, or run the suite again."
        )
    return out


def _part(runs: Runs, settings: list[str], names: list[str], seeds: list[int]) -> Part:
    area = np.array([[[_area(runs[d, k, s]) for s in seeds] for k in names] for d in settings])
    families = [STRATEGIES[runs[settings[0], k, seeds[0]][0]["strategy_name"]].family for k in names]
    single = [p for p, k in enumerate(names) if families[p] not in ("auto", "selector") and k != BASELINE]
    spent = [
        np.mean([row["seconds_query_cpu"] for d in settings for s in seeds for row in runs[d, k, s][1:]]) for k in names
    ]
    if len(single) > 1 and len(settings) > 1:
        others = [single[k] for k in best_elsewhere(area, single, names.index(BASELINE))]
        transferred = np.stack([area[d, k] for d, k in enumerate(others)])
        area = np.concatenate([area, transferred[:, None]], axis=1)
        names = [*names, TRANSFERRED]
        spent = [*spent, np.nan]
    return Part(settings, names, seeds, area, single, np.array(spent), _groups(runs, settings))


def _area(rows: Rows) -> float:
    return 100 * aubc([row["n_labeled"] for row in rows], [row["accuracy"] for row in rows])


def best_elsewhere(area: np.ndarray, among: list[int], base: int) -> list[int]:
    """For each setting, the position in `among` of the strategy that gains most over `base` on the other settings."""
    gain = (area[:, among] - area[:, [base]]).mean(axis=2)  # (settings, candidates)
    return [int(np.delete(gain, d, axis=0).mean(axis=0).argmax()) for d in range(len(area))]


def _groups(runs: Runs, settings: list[str]) -> dict[str, np.ndarray]:
    """Settings with few labels at first and the rest, with a linear head and the rest; no group is empty.

    A class counts if any run ever saw it; a linear head has a strength of regularisation.
    """
    few, linear = [], []
    for d in settings:
        these = [rows for (name, _, _), rows in runs.items() if name == d]
        classes = max(row["classes_seen"] for rows in these for row in rows)
        first = np.mean([rows[0]["n_labeled"] - rows[0]["n_foreign"] for rows in these])
        few.append(first <= FEW_LABELS * classes)
        linear.append(these[0][0]["strength"] is not None)
    low, flat = np.array(few), np.array(linear)
    found = {"low budget": low, "middle budget": ~low, "linear head": flat, "other head": ~flat}
    return {name: inside for name, inside in found.items() if inside.any()}
