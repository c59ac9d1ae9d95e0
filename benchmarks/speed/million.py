"""Choose 1000 of a million rows, 256 wide and with 100 classes, from a float16 file: time and memory of any strategies.

    python -m benchmarks.speed.million                                    # those with a limit, a few minutes
    python -m benchmarks.speed.million --only glister badge               # any others
    python -m benchmarks.speed.million --only bait --rows 200000 --width 128 --classes 50 --batch-size 500

Each strategy runs in a process of its own with two threads; 2000 random rows carry the label that the head predicts.
The table is printed, nothing is kept; exit code 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import poolwise as pw
from benchmarks.speed import table
from benchmarks.speed.imagenet import in_child, make
from benchmarks.speed.measure import measured
from poolwise.registry import STRATEGIES

WALL_LIMIT_S = {"noise_stability": 60, "dpp": 120, "poal": 60}
MEMORY_LIMIT = 1.5e9
LABELED = 2000


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
    with measured(memory=True) as cost:
        picked = pw.select(strategy, **given, batch_size=batch_size)
    return {
        "strategy": strategy,
        "wall_s": cost.wall_s,
        "cpu_s": cost.cpu_s,
        "peak": cost.before + cost.memory,
        "load": os.getloadavg()[0],
        "distinct": len(np.unique(picked.indices)),
    }


def verdict(record: dict[str, Any]) -> str:
    """pass, what misses its limit, or - where there is none."""
    if "failed" in record:
        return "failed: " + record["failed"]
    limit = WALL_LIMIT_S.get(record["strategy"])
    misses = ["wall"] if limit is not None and record["wall_s"] > limit else []
    misses += ["memory"] if record["peak"] > MEMORY_LIMIT else []
    return "FAIL (" + ", ".join(misses) + ")" if misses else "pass"


def line(record: dict[str, Any]) -> list[str]:
    """One row of the table."""
    if "failed" in record:
        return [record["strategy"], *["-"] * 5, verdict(record)]
    limit = WALL_LIMIT_S.get(record["strategy"])
    return [
        record["strategy"],
        f"{record['wall_s']:.0f} s",
        "-" if limit is None else f"≤ {limit} s",
        f"{record['cpu_s']:.0f} s",
        f"{record['load']:.1f}",
        table.size(record["peak"]),
        verdict(record),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the file if it is not there, run the strategies, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolwise-million")
    parser.add_argument("--keep", action="store_true", help="leave the file for another run, which then uses it")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=STRATEGIES.names(), default=list(WALL_LIMIT_S))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        print(json.dumps(select(given.folder, given.child, given.batch_size)))
        return 0
    folder = given.folder / f"{given.rows}x{given.width}x{given.classes}"
    if not (folder / "embeddings.npy").exists():
        make(folder, given.rows, given.width, given.classes)
    records = []
    for strategy in given.only:
        records.append(in_child(folder, strategy, given.batch_size, "benchmarks.speed.million"))
        print(json.dumps(records[-1]), file=sys.stderr, flush=True)
    if not given.keep:
        for name in ("embeddings.npy", "head.npz"):
            (folder / name).unlink()
        folder.rmdir()
    header = ["strategy", "wall", "limit", "processor time", "load", "peak memory", ""]
    print(table.markdown(header, [line(record) for record in records]))
    return int(any("failed" in r or verdict(r) != "pass" or r["distinct"] != given.batch_size for r in records))


if __name__ == "__main__":
    raise SystemExit(main())
