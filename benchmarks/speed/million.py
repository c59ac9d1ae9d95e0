"""Choose from a million rows in a float16 file: time and memory of the strategies that have a limit, or of any other.

    python -m benchmarks.speed.million                                    # those with a limit, some ten minutes
    python -m benchmarks.speed.million --only auto autoal                 # some of them
    python -m benchmarks.speed.million --only glister badge               # any others: 1000 of 256-wide rows
    python -m benchmarks.speed.million --only bait --rows 200000 --width 128 --classes 50 --batch-size 500

Each strategy runs in a process of its own with two threads; 2000 random rows carry the label that the head predicts.
The table is printed; figures of the strategies with a limit, at their sizes, are kept in results/million.json and
million.md. Exit code 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import poolwise as pw
from benchmarks.speed import table
from benchmarks.speed.imagenet import in_child, make
from benchmarks.speed.measure import environment, measured
from poolwise.registry import STRATEGIES

RESULTS = Path(__file__).parents[1] / "results"
ROWS = 1_000_000
LABELED = 2000
THREADS = 2
EIGHT = ("margin", "entropy", "least_confidence", "mase", "base", "badge", "direct", "random")
"""Candidates that differ and take seconds each; what they take does not count against the limit of a search."""


@dataclass(frozen=True, slots=True)
class Case:
    """Sizes and limits.

    wall_s : limit; None for none
    memory : limit on anonymous memory, bytes
    besides_scoring : whether the limit is on what comes after the candidates
    """

    wall_s: float | None = None
    memory: float = 1.5e9
    width: int = 256
    classes: int = 100
    batch_size: int = 1000
    options: Mapping[str, Any] = field(default_factory=dict)
    besides_scoring: bool = False


CASES = {
    "noise_stability": Case(60),
    "dpp": Case(120),
    "poal": Case(60),
    "auto": Case(120, 2e9, 512, 100, 10_000),
    "autoal": Case(60, 4e9, 512, 100, 10_000, {"candidates": EIGHT}, besides_scoring=True),
}


def select(folder: Path, strategy: str, batch_size: int) -> dict[str, Any]:
    """Run one strategy here and now."""
    rows = np.load(folder / "embeddings.npy", mmap_mode="r")
    with np.load(folder / "head.npz", allow_pickle=False) as file:
        weight, bias = file["weight"], file["bias"]
    labeled = np.sort(np.random.default_rng(0).choice(len(rows), min(LABELED, len(rows) // 10), replace=False))
    labels = (rows[labeled].astype(np.float32) @ weight.T + bias).argmax(axis=1)
    given: dict[str, Any] = {"embeddings": rows, "labels": labels, "labeled": labeled}
    spec = STRATEGIES[strategy]
    if {"probs", "logits", "head_weight", "prob_samples"} & {*spec.needs, *spec.uses}:
        given |= {"head_weight": weight, "head_bias": bias}
    case = CASES.get(strategy, Case())
    with measured(memory=True) as cost:
        picked = pw.select(strategy, **given, batch_size=batch_size, **case.options)
    return {
        "strategy": strategy,
        "rows": len(rows),
        "width": rows.shape[1],
        "classes": len(weight),
        "batch_size": batch_size,
        "wall_s": cost.wall_s,
        "cpu_s": cost.cpu_s,
        "peak": cost.before + cost.memory,
        "load": os.getloadavg()[0],
        "distinct": len(np.unique(picked.indices)),
        "parts": {name: value for name, value in picked.notes.items() if name.startswith("seconds_")},
    }


def counted_s(record: dict[str, Any]) -> float:
    """Wall seconds that count against the limit."""
    scoring = record["parts"].get("seconds_scoring", 0.0)
    besides = CASES.get(record["strategy"], Case()).besides_scoring
    return float(record["wall_s"] - (scoring if besides else 0.0))


def verdict(record: dict[str, Any]) -> str:
    """pass, or what misses its limit; a wall time that only other work on the machine can explain is said to be so."""
    if "failed" in record:
        return "failed: " + record["failed"]
    case = CASES.get(record["strategy"], Case())
    misses = []
    if case.wall_s is not None and counted_s(record) > case.wall_s:
        quiet = counted_s(record) / record["wall_s"] * record["cpu_s"] / THREADS <= case.wall_s
        misses.append("wall, on a busy machine" if quiet and record["load"] > 2 * THREADS else "wall")
    misses += ["memory"] if record["peak"] > case.memory else []
    return "FAIL (" + ", ".join(misses) + ")" if misses else "pass"


def line(record: dict[str, Any]) -> list[str]:
    """One row of the table."""
    if "failed" in record:
        return [record["strategy"], *["-"] * 8, verdict(record)]
    case = CASES.get(record["strategy"], Case())
    limit = "-" if case.wall_s is None else f"≤ {case.wall_s:.0f} s"
    return [
        record["strategy"],
        f"{record['rows']:,} x {record['width']}, C = {record['classes']}, B = {record['batch_size']:,}",
        f"{record['wall_s']:.0f} s",
        f"{counted_s(record):.0f} s {limit}" + (" besides scoring" if case.besides_scoring else ""),
        ", ".join(f"{name.removeprefix('seconds_')} {value:.0f}" for name, value in record["parts"].items()) or "-",
        f"{record['cpu_s']:.0f} s",
        f"{record['load']:.1f}",
        f"{table.size(record['peak'])} ≤ {table.size(case.memory)}",
        f"**{verdict(record)}**",
    ]


HEADER = [
    "strategy",
    "sizes",
    "wall",
    "counted, limit",
    "parts, s",
    "processor time",
    "load",
    "peak memory, limit",
    "",
]


def page(results: dict[str, Any]) -> str:
    """The Markdown page."""
    parts = [
        "# A million rows",
        f"Made by `{results['command']}`: float16 rows in a memory-mapped file, {THREADS} threads, {LABELED} labels. "
        "Peak memory is all anonymous memory of the process. The search of `autoal` has a limit beside the scoring of "
        f"its eight candidates ({', '.join(EIGHT)}). `--only` renews some of the lines.",
        table.machine(results["environment"]),
        table.markdown(HEADER, [line(record) for record in results["records"]]),
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the files, run the strategies, print the table, keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolwise-million")
    parser.add_argument("--keep", action="store_true", help="leave the files for another run, which then uses them")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=STRATEGIES.names(), default=list(CASES))
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--width", type=int, help="default: that of the strategy's limit, or 256")
    parser.add_argument("--classes", type=int, help="default: those of the strategy's limit, or 100")
    parser.add_argument("--batch-size", type=int, help="default: that of the strategy's limit, or 1000")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        print(json.dumps(select(given.folder, given.child, given.batch_size)))
        return 0
    records, made = [], set()
    for strategy in given.only:
        case = CASES.get(strategy, Case())
        width, classes = given.width or case.width, given.classes or case.classes
        folder = given.folder / f"{given.rows}x{width}x{classes}"
        if not (folder / "embeddings.npy").exists():
            make(folder, given.rows, width, classes)
        made.add(folder)
        records.append(in_child(folder, strategy, given.batch_size or case.batch_size, "benchmarks.speed.million"))
        print(json.dumps(records[-1]), file=sys.stderr, flush=True)
        if given.rows == ROWS and not (given.width or given.classes or given.batch_size):
            keep(records[-1:], given.out)
    if not given.keep:
        for folder in made:
            for name in ("embeddings.npy", "head.npz"):
                (folder / name).unlink()
            folder.rmdir()
    print(table.markdown(HEADER, [line(record) for record in records]))
    missed = [r for r in records if verdict(r) != "pass" or r["distinct"] != r["batch_size"]]
    return int(bool(missed))


def keep(records: Sequence[dict[str, Any]], out: Path) -> None:
    """Put new figures of strategies with a limit in the place of old ones."""
    path = out / "million.json"
    known = {r["strategy"]: r for r in (json.loads(path.read_text())["records"] if path.exists() else [])}
    known |= {r["strategy"]: r for r in records if "failed" not in r}
    results = {
        "command": "python -m benchmarks.speed.million",
        "environment": environment(),
        "records": [known[name] for name in CASES if name in known],
    }
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
    (out / "million.md").write_text(page(results))


if __name__ == "__main__":
    raise SystemExit(main())
