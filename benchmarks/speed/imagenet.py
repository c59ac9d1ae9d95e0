"""Choose 10,000 of 1.28 million rows, 2048 wide and with 1000 classes, from a float16 file, by five strategies.

    python -m benchmarks.speed.imagenet --folder /somewhere/with/6GB

makes the file (deleted at the end, unless `--keep`), runs each strategy in a process of its own with two threads,
and writes benchmarks/results/imagenet.md and imagenet.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import poolwise as pw
from benchmarks.speed import table
from benchmarks.speed.data import head
from benchmarks.speed.generators import structured
from benchmarks.speed.measure import environment, measured, thread_environment

RESULTS = Path(__file__).parents[1] / "results"
N, D, C, B = 1_281_167, 2048, 1000, 10_000
THREADS = 2
MEMORY_LIMIT = 1e9
WALL_LIMIT_S = {"margin": 90, "mase": 90, "base": 90, "badge": 120, "coreset": 300}
TIMEOUT_S = 3600


def make(folder: Path, n: int, d: int, c: int) -> float:
    """Write embeddings.npy (n, d) float16 and head.npz; returns the seconds it took."""
    start = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.lib.format.open_memmap(folder / "embeddings.npy", mode="w+", dtype=np.float16, shape=(n, d))
    structured(n, d, out=rows)
    rows.flush()
    weight, bias = head(rows[: 8 * c].astype(np.float32), c)
    np.savez(folder / "head.npz", weight=weight, bias=bias)
    return time.perf_counter() - start


def select(folder: Path, strategy: str, batch_size: int) -> dict[str, Any]:
    """Run one strategy here and now; the record of the table."""
    rows = np.load(folder / "embeddings.npy", mmap_mode="r")
    with np.load(folder / "head.npz", allow_pickle=False) as file:
        given = {} if strategy == "coreset" else {"head_weight": file["weight"], "head_bias": file["bias"]}
    pw.select(strategy, embeddings=rows[:2000], **given, batch_size=10)  # warm-up
    load = os.getloadavg()[0]
    with measured(memory=True) as cost:
        picked = pw.select(strategy, embeddings=rows, **given, batch_size=batch_size)
    return {
        "strategy": strategy,
        "rows": len(rows),
        "wall_s": cost.wall_s,
        "cpu_s": cost.cpu_s,
        "peak": cost.before + cost.memory,
        "before": cost.before,
        "load": [load, os.getloadavg()[0]],
        "distinct": len(np.unique(picked.indices)),
        "first": picked.indices[:5].tolist(),
        "notes": {key: value for key, value in picked.notes.items() if isinstance(value, int | float | str)},
    }


def in_child(folder: Path, strategy: str, batch_size: int, module: str = "benchmarks.speed.imagenet") -> dict[str, Any]:
    """Run `select` of a module in a process of its own with two threads."""
    words = ["--child", strategy, "--folder", str(folder), "--batch-size", str(batch_size)]
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        env=thread_environment(THREADS),
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        return {"strategy": strategy, "failed": done.stderr.decode(errors="replace").strip().splitlines()[-1][:200]}
    answer: dict[str, Any] = json.loads(done.stdout.decode().splitlines()[-1])
    return answer


def verdict(record: dict[str, Any]) -> str:
    """pass; what misses its limit; or whether a quiet machine would have kept it."""
    if "failed" in record:
        return "failed: " + record["failed"]
    misses = []
    if record["wall_s"] > WALL_LIMIT_S[record["strategy"]]:
        quiet = record["cpu_s"] / THREADS <= WALL_LIMIT_S[record["strategy"]] and min(record["load"]) > 2 * THREADS
        misses.append("wall, on a busy machine" if quiet else "wall")
    if record["peak"] > MEMORY_LIMIT:
        misses.append("memory")
    return "FAIL (" + ", ".join(misses) + ")" if misses else "pass"


def page(results: dict[str, Any]) -> str:
    """The Markdown page."""
    around, records = results["environment"], results["records"]
    lines = []
    for r in records:
        if "failed" in r:
            lines.append([r["strategy"], *["-"] * 6, f"**{verdict(r)}**"])
            continue
        lines.append(
            [
                r["strategy"],
                f"{r['wall_s']:.0f} s",
                f"≤ {WALL_LIMIT_S[r['strategy']]} s",
                f"{r['cpu_s']:.0f} s",
                f"{r['cpu_s'] / THREADS:.0f} s",
                f"{r['load'][0]:.1f}, {r['load'][1]:.1f}",
                table.size(r["peak"]),
                f"**{verdict(r)}**",
            ]
        )
    header = ["strategy", "wall", "limit", "processor time", "over two cores", "load before, after", "peak memory", ""]
    parts = [
        "# ImageNet scale",
        f"{results['n']:,} rows x {results['d']} float16 ({results['n'] * results['d'] * 2 / 1e9:.1f} GB, "
        f"memory-mapped; the *structured* generator), a head of {results['c']} classes, {results['b']:,} picks, "
        f"{THREADS} threads. Made by `{results['command']}`; writing the file took {results['made_s']:.0f} s. "
        f"The processes had niceness {results['niceness']}.",
        table.machine(around),
        "Wall time includes reading and checking the file. Peak memory is all anonymous memory of the process, limit "
        f'{table.size(MEMORY_LIMIT)}. "Over two cores" is what the wall time comes to where nothing else runs: with a '
        "load far above 2, others had the cores for the rest.",
        table.markdown(header, lines),
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the file, run all strategies, write the results; exit code 1 if one fails or picks a row twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolwise-imagenet")
    parser.add_argument("--keep", action="store_true", help="leave the file for another run, which then uses it")
    parser.add_argument("--only", nargs="+", choices=sorted(WALL_LIMIT_S), default=list(WALL_LIMIT_S))
    parser.add_argument("--rows", type=int, default=N)
    parser.add_argument("--width", type=int, default=D)
    parser.add_argument("--classes", type=int, default=C)
    parser.add_argument("--batch-size", type=int, default=B)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        print(json.dumps(select(given.folder, given.child, given.batch_size)))
        return 0
    made_s = 0.0
    path = given.folder / "embeddings.npy"
    if not path.exists():
        made_s = make(given.folder, given.rows, given.width, given.classes)
        print(f"made {path} in {made_s:.0f} s", file=sys.stderr, flush=True)
    earlier = given.out / "imagenet.json"
    before = json.loads(earlier.read_text()) if earlier.exists() else {"records": [], "made_s": 0.0}
    records = {r["strategy"]: r for r in before["records"]}
    for strategy in given.only:
        records[strategy] = in_child(given.folder, strategy, given.batch_size)
        print(json.dumps(records[strategy]), file=sys.stderr, flush=True)
    if not given.keep:
        for name in ("embeddings.npy", "head.npz"):
            (given.folder / name).unlink()
        given.folder.rmdir()
    results = {
        "command": "python -m benchmarks.speed.imagenet",
        "environment": environment(),
        "n": given.rows,
        "d": given.width,
        "c": given.classes,
        "b": given.batch_size,
        "made_s": made_s or before["made_s"],
        "niceness": os.nice(0),
        "records": [records[name] for name in WALL_LIMIT_S if name in records],
    }
    given.out.mkdir(parents=True, exist_ok=True)
    earlier.write_text(json.dumps(results, indent=1) + "\n")
    (given.out / "imagenet.md").write_text(page(results))
    print(page(results))
    return int(any("failed" in r or r["distinct"] != given.batch_size for r in results["records"]))


if __name__ == "__main__":
    raise SystemExit(main())
