"""Is `auto` ahead of plain `uherding`? The settings of suites/auto.toml again, on 40 seeds that nobody has seen.

    python -m benchmarks.auto_confirm --workers 2        # 2280 runs, about 12 minutes of processor time

Decided before the first run: the seeds, the three strategies, and the one number that answers: the mean over settings
of the paired difference in points, with its 95 % interval over settings. Whatever comes is written to
results/auto-confirm.md; a stopped run continues.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.auto_runs import BASELINE, SUBJECT, Part, parts, read_runs
from benchmarks.auto_table import RIVAL, apart, rival_by_setting
from poolwise.bench.run import run
from poolwise.bench.suite import Suite, load_suite
from poolwise.progress import listening
from poolwise.stats.intervals import t_interval

SEEDS = range(40, 80)
SUITE = Path(__file__).parent / "suites" / "auto.toml"
PAGE = Path(__file__).parent / "results" / "auto-confirm.md"


def plan() -> Suite:
    """The suite with three strategies and fresh seeds."""
    whole = load_suite(SUITE)
    kept = tuple(s for s in whole.strategies if s.label in (BASELINE, SUBJECT, RIVAL))
    return replace(whole, name="auto-confirm", strategies=kept, seeds=tuple(SEEDS))


def page(part: Part) -> str:
    """The Markdown page."""
    difference = (part.of(SUBJECT) - part.of(RIVAL)).mean(axis=1)  # (settings,)
    found = t_interval(difference)
    largest = int(np.abs(difference).argmax())
    without = t_interval(np.delete(difference, largest))
    verdict = "ahead" if found.low > 0 else "behind" if found.high < 0 else "not separable"
    lines = [
        f"# `{SUBJECT}` and plain `{RIVAL}` on fresh seeds",
        "",
        f"Made by `python -m benchmarks.auto_confirm`: {len(part.settings)} settings of `suites/auto.toml`, seeds "
        f"{part.seeds[0]} to {part.seeds[-1]}, which nobody had looked at. Points of test accuracy, area under the "
        "learning curve. Seeds, strategies and the number that decides were fixed before the first run.",
        "",
        f"**`{SUBJECT}` minus `{RIVAL}`: {found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}] points: {verdict}.** "
        f"It is better in {int((difference > 0).sum())} of {len(difference)} settings.",
        "",
        f"Without {part.settings[largest]}, where the difference is largest: {without.mean:+.2f} "
        f"[{without.low:+.2f}, {without.high:+.2f}].",
        "",
    ]
    return "\n".join([*lines, *rival_by_setting(part), "", *apart(part)]).rstrip() + "\n"


def main() -> None:
    """Run what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data-dir", help="folder of data; default: $POOLWISE_DATA or ../shared/data")
    parser.add_argument("--work", type=Path, default=Path("runs/auto-confirm"), help="folder of the runs")
    given = parser.parse_args()
    with listening(lambda what, done, total: print(f"\r{what}: {done}/{total}", end="", file=sys.stderr, flush=True)):
        run(plan(), out=given.work, workers=given.workers, data_dir=given.data_dir)
    (part,) = parts(read_runs(given.work))
    PAGE.write_text(page(part), encoding="utf-8")
    print(page(part))


if __name__ == "__main__":
    main()
