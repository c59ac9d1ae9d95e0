"""Sum up a suite of choices among strategies: ranks, regret to the best candidate, tests against random and `auto`.

    python -m benchmarks.auto_table runs/auto-small > benchmarks/results/auto.md

Reads the finished runs of a folder, also of a suite that still runs; seeds that some run lacks are left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import poolwise  # noqa: F401  (registers every strategy)
from poolwise.registry import STRATEGIES
from poolwise.stats.curves import aubc
from poolwise.stats.intervals import t_interval
from poolwise.stats.paired import holm, paired_p
from poolwise.stats.ranks import mean_ranks

BASELINE, SUBJECT = "random", "auto"


def finished(folder: Path) -> tuple[list[str], list[str], list[int], np.ndarray, set[str]]:
    """Data sets, strategies, seeds, areas (datasets, strategies, seeds) in points, and names of single candidates."""
    runs: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for path in sorted((folder / "cells").glob("*.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        runs[rows[0]["dataset"], rows[0]["strategy"], rows[0]["seed"]] = rows
    datasets, strategies, seeds = (sorted({key[i] for key in runs}) for i in range(3))
    seeds = [s for s in seeds if all((d, k, s) in runs for d in datasets for k in strategies)]
    if not seeds:
        raise SystemExit(f"no seed of {folder} is finished on all {len(datasets)} data sets; wait, or run it again.")
    area = np.array([[[_area(runs[d, k, s]) for s in seeds] for k in strategies] for d in datasets])
    families = {k: STRATEGIES[runs[datasets[0], k, seeds[0]][0]["strategy_name"]].family for k in strategies}
    return datasets, strategies, seeds, area, {k for k, f in families.items() if f not in ("auto", "selector")}


def _area(rows: list[dict[str, Any]]) -> float:
    rows = sorted(rows, key=lambda row: row["round"])
    return 100 * aubc([row["n_labeled"] for row in rows], [row["accuracy"] for row in rows])


def page(folder: Path) -> str:
    """Write the tables as Markdown."""
    datasets, strategies, seeds, area, candidates = finished(folder)
    mean = area.mean(axis=2)  # (datasets, strategies)
    ranks = mean_ranks(mean)[0]
    single = [strategies.index(k) for k in sorted(candidates - {BASELINE})]
    regret = mean[:, single].max(axis=1)[:, None] - mean
    base, subject = strategies.index(BASELINE), strategies.index(SUBJECT)
    gain = mean - mean[:, [base]]
    others = [k for k in range(len(strategies)) if k != base]
    p_values = np.array([[paired_p(area[d, k] - area[d, base]) for d in range(len(datasets))] for k in others])
    adjusted = np.ones((len(strategies), len(datasets)))
    adjusted[others] = holm(p_values.ravel()).reshape(p_values.shape)
    lines = [
        f"{len(datasets)} settings, {len(strategies)} strategies, "
        f"{len(seeds)} paired seeds ({', '.join(map(str, seeds))}). "
        "Numbers are points of test accuracy, area under the learning curve.",
        "",
        "| strategy | mean rank | mean regret to the best candidate | largest regret | mean gain over random | "
        "settings above / below random | of them significant (Holm over all tests) | worst against random |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for k in np.argsort(ranks, kind="stable"):
        worst, most = int(gain[:, k].argmin()), int(regret[:, k].argmax())
        sure = adjusted[k] < 0.05
        cells = [
            strategies[k],
            f"{ranks[k]:.1f}",
            f"{regret[:, k].mean():+.2f}",
            f"{regret[most, k]:+.2f} ({datasets[most]})",
            f"{gain[:, k].mean():+.2f}",
            f"{(gain[:, k] > 0).sum()} / {(gain[:, k] < 0).sum()}",
            f"{(sure & (gain[:, k] > 0)).sum()} / {(sure & (gain[:, k] < 0)).sum()}",
            f"{gain[worst, k]:+.2f} ({datasets[worst]})",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"`{SUBJECT}` minus others, interval over settings:", ""]
    lines += ["| minus | difference | settings better | worst setting |", "|---|---|---|---|"]
    for k in np.argsort(ranks, kind="stable"):
        if k != subject:
            difference = mean[:, subject] - mean[:, k]
            worst = int(difference.argmin())
            found = t_interval(difference)
            lines.append(
                f"| {strategies[k]} | {found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}] | "
                f"{(difference > 0).sum()}/{len(datasets)} | {difference[worst]:+.2f} {datasets[worst]} |"
            )
    lines += ["", "Per setting, difference to random:", ""]
    order = [k for k in np.argsort(ranks, kind="stable") if k != base]
    lines += [
        "| setting | random | " + " | ".join(strategies[k] for k in order) + " |",
        "|---" * (len(order) + 2) + "|",
    ]
    for d, name in enumerate(datasets):
        lines.append(f"| {name} | {mean[d, base]:.2f} | " + " | ".join(f"{gain[d, k]:+.2f}" for k in order) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(Path(sys.argv[1])), end="")
