"""Measure poolwise against public packages and plain loops, and write benchmarks/results/speed.{md,json,svg}.

    python -m benchmarks.speed                       # everything, for 20 minutes at most
    python -m benchmarks.speed --minutes 40          # the same with more time
    python -m benchmarks.speed --only margin         # the cases whose name holds "margin", printed only
    python -m benchmarks.speed --only margin --out benchmarks/results     # the same, and their rows replaced
    python -m benchmarks.speed --parts scaling

Every figure comes from a process of its own with one thread, so that nothing is left over from an earlier one.
Results are written after each part, whether or not requirements are met. What a full run measured is kept in
runs/speed: a run that was cut off goes on when the command is given again; `--fresh` measures all anew.

Exit code 0: all that was asked for was measured, answers agree and requirements are met. 1: a requirement is missed, an
answer is wrong, a peer is not installed, a child failed or the time was up; the page says which.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed import plot, reach, scaling, table
from benchmarks.speed.case import Case
from benchmarks.speed.cases import CASES
from benchmarks.speed.features import FILE, STRATEGIES
from benchmarks.speed.kept import ROOT, Runner
from benchmarks.speed.measure import environment

RESULTS = Path(__file__).parents[1] / "results"
PARTS = ("cases", "scaling", "reach", "features")
KEPT = ROOT / "runs" / "speed"
COMMAND = "python -m benchmarks.speed"


def run_cases(ask: Runner, chosen: Sequence[Case], repeats: int, tiny: bool) -> list[dict[str, Any]]:
    """Measure cases one after the other, and say each as soon as it is known."""
    records = []
    for number, case in enumerate(chosen, 1):
        words = ["case", case.name, "--repeats", str(repeats), *(["--tiny"] if tiny else [])]
        known = {"task": case.task, "against": case.against, "data": case.data, "required": case.required}
        record = {**known, "name": case.name, **ask(*words)}
        records.append(record)
        ratio = f"{record['ratio']:.3g}x of {case.required:.3g}x" if "ratio" in record else record["text"]
        say(f"[{number}/{len(chosen)}] {case.name}: {table.verdict(record)}, {ratio}")
    return records


def run_scaling(ask: Runner, repeats: int, tiny: bool) -> list[dict[str, Any]]:
    """Measure the points of all curves."""
    slopes = []
    for curve in scaling.CURVES:
        points = []
        for value in curve.tiny if tiny else curve.values:
            point = ask("curve", curve.name, str(value), "--repeats", str(repeats))
            say(f"{curve.name}, {curve.along}={value}: {point.get('text') or table.seconds(point['cpu_s'])}")
            if "cpu_s" in point:
                points.append({k: point[k] for k in ("value", "cpu_s", "wall_s", "memory")})
        slope = scaling.slope(points) if len(points) > 1 else float("nan")
        slopes.append(
            {"name": curve.name, "along": curve.along, "points": points, "slope": slope, "steepest": curve.steepest}
        )
    return slopes


def run_reach(ask: Runner, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Fill the table of what each package does at each size."""
    rows = []
    for method in reach.METHODS:
        cells: list[dict[str, Any]] = []
        for n in sizes:
            cell = reach.expected(method, n, cells) or ask("reach", method.name, str(n))
            cells.append({"n": n, **cell})
            say(f"{method.name}, N={n}: {cell['status']}")
        rows.append({"name": method.name, "task": method.task, "array": method.array, "cells": cells})
    return rows


def run_features(ask: Runner, data_dir: Path, repeats: int) -> list[dict[str, Any]]:
    """Measure on real features, if they are there."""
    if not (data_dir / FILE).exists():
        say(f"no real features: {data_dir / FILE} is missing. Name the folder with --data-dir FOLDER.")
        return []
    rows = [ask("features", name, str(data_dir), "--repeats", str(repeats)) for name in STRATEGIES]
    return [row for row in rows if "shared" in row]


def page(results: dict[str, Any]) -> str:
    """The Markdown page."""
    around = results["environment"]
    parts = [
        "# Speed",
        f"Made by `{results['command']}`. {table.machine(around)} Load when it began: {around['load'][0]}.",
        "Each case runs in a process of its own with one thread; poolwise and the peer run in turn, and the least "
        "processor time (user + system) of at least three runs counts. Memory is anonymous memory above that before "
        "the call, in the first run. *structured* is a mixture of 100 classes with a decaying spectrum after a ReLU, "
        "*isotropic* is Gaussian noise; see `benchmarks/speed/generators.py`. The ratio is the time of the peer over "
        'that of poolwise. "Textbook" rows are plain transcriptions in `benchmarks/peers/textbook.py`. "A bare read" '
        "is the ratio that one sum over the array would have: no selection takes less time. The compiled row scores "
        "(extra `fast`) and the coarse logits (with torch) are loaded before the clock starts; a process loads them by "
        "itself, in about a second, once it has scored 500 million values, or multiplied 270 billion times.",
    ]
    if results.get("cases"):
        parts += ["## Ratios", table.in_short(results["cases"]), table.cases_table(results["cases"])]
    if results.get("scaling"):
        parts += ["## Growth", "![time and memory](speed.svg)", table.slopes_table(results["scaling"])]
    if results.get("reach"):
        sizes = [cell["n"] for cell in results["reach"][0]["cells"]]
        about = (
            f"D = {reach.D}, C = {reach.C}, {reach.B} picks, one thread. Processor time and anonymous memory of a "
            'run; "~" carries the largest run on; "needs" is the memory that the code must allocate, '
            f"where that is above {table.size(reach.MEMORY)}. What poolwise does at 1.28 million rows, with "
            "D = 2048 and C = 1000, is measured in `imagenet.md`."
        )
        parts += ["## How far each gets", about, table.reach_table(results["reach"], sizes)]
    if results.get("features"):
        about = (
            "Tiny ImageNet, 100,000 rows of 64. Picks shared: between rows stored as float16 and float32 rows that "
            "differ from them by less than half a unit in float16's last place. `badge` draws rows at random and "
            "`typiclust` begins with such draws: there the least difference leads to other picks of the same law."
        )
        parts += ["## Real features", about, table.features_table(results["features"])]
    return "\n\n".join(parts) + "\n"


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line names; the exit code says whether all is as required."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="cases whose name holds one of these")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=None, help="default: all, or cases with --only")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="a few rows each: shows that it works, measures nothing")
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=None, help=f"folder of the results, default {RESULTS}")
    parser.add_argument("--minutes", type=float, default=20.0, help="no new figure is begun after it; default 20")
    parser.add_argument("--keep", type=Path, default=None, help=f"folder of figures that are kept, default {KEPT}")
    parser.add_argument("--fresh", action="store_true", help="measure again what is kept")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    given = parser.parse_args(arguments)
    chosen = [c for c in CASES if not given.only or any(text in c.name for text in given.only)]
    if given.list or not chosen:
        print("\n".join(case.name for case in (chosen or CASES)))
        return 0 if chosen else 1
    parts = given.parts or (("cases",) if given.only else PARTS)
    out = given.out or (None if given.only or given.tiny else RESULTS)
    results: dict[str, Any] = {"command": COMMAND, "environment": environment()}
    keep = given.keep or (None if given.only or given.tiny else KEPT)
    if given.fresh and keep is not None:
        shutil.rmtree(keep, ignore_errors=True)
    ask = Runner(keep, time.monotonic() + 60 * given.minutes)
    measure: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "cases": lambda: run_cases(ask, chosen, given.repeats, given.tiny),
        "scaling": lambda: run_scaling(ask, given.repeats, given.tiny),
        "reach": lambda: run_reach(ask, (300, 600) if given.tiny else reach.SIZES),
        "features": lambda: run_features(ask, given.data_dir, given.repeats),
    }
    for part in parts:
        results[part] = measure[part]()
        if out is not None:
            write(results, out)
    print(page(results))
    return 0 if all_met(results) else 1


def all_met(results: dict[str, Any]) -> bool:
    """Whether everything was measured and is as required."""
    cells = [cell for row in results.get("reach", []) for cell in row["cells"]]
    return (
        all(table.verdict(record) in ("pass", "floor") for record in results.get("cases", []))
        and all(curve["slope"] <= curve["steepest"] for curve in results.get("scaling", []))
        and all(cell["status"] in ("ok", "time", "memory", "failed") for cell in cells)
    )


def write(results: dict[str, Any], out: Path) -> None:
    """Write the files; parts that were not measured now stay as they were."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "speed.json"
    earlier = json.loads(path.read_text()) if path.exists() else {}
    rows = {r["name"]: r for r in (*earlier.get("cases", []), *results.get("cases", []))}
    whole = {**earlier, **results, "cases": [rows[case.name] for case in CASES if case.name in rows]}
    path.write_text(json.dumps(whole, indent=1) + "\n")
    if whole.get("scaling"):
        plot.draw(whole["scaling"], out / "speed.svg")
    (out / "speed.md").write_text(page(whole))


if __name__ == "__main__":
    raise SystemExit(main())
