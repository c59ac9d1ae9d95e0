"""`poolwise demo`: the main job on bundled images, offline, in a few minutes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from poolwise.bench.run import run as run_suite
from poolwise.bench.table import summarise, to_dict, to_rich
from poolwise.cli.output import echo_json, echo_rich, say, show_progress
from poolwise.pool import Pool
from poolwise.report.build_bench import bench_report

SUITE = {
    "name": "demo",
    "strategies": ["random", "auto", "badge", "margin", "typiclust", "coreset"],
    "datasets": [{"task": "fashion_demo", "initial": {"random": 20}, "batch_size": 40, "rounds": 8}],
}


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the pool, the results and the reports.")] = Path("demo-out"),
    seeds: Annotated[int, typer.Option(min=2, help="Paired repetitions.")] = 5,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Label bundled images with simulated annotators, compare strategies, write two reports.

    Example:  poolwise demo
    """
    say("1/3  a pool of 5,000 Fashion-MNIST images, labeled round by round by a simulated annotator")
    pool_dir = out / "fashion.pool"
    if pool_dir.exists():
        shutil.rmtree(pool_dir)
    out.mkdir(parents=True, exist_ok=True)
    with show_progress():
        pool = Pool.create(pool_dir, dataset="fashion-demo", seed=0)
        pool.embed("pixels")
        pool.run("badge", batch_size=100, budget=1000, oracle="source", audit=0.4)
        pool_page = pool.report()
    say(f"     {pool.status().headline()}")
    say(f"     {pool.audit().headline()}")
    say(f"2/3  {len(SUITE['strategies'])} strategies x {seeds} paired seeds on the same images")
    with show_progress():
        results = run_suite({**SUITE, "seeds": seeds}, out=out / "bench", workers=workers)
        page = bench_report(out / "bench" / "results.parquet", out / "report.html")
    say("3/3  done")
    if as_json:
        echo_json({**to_dict(summarise(results), results), "report": str(page), "pool_report": str(pool_page)})
        return
    echo_rich(*to_rich(summarise(results)))
    print(f"\nReport on the comparison: {page}\nReport on the pool:       {pool_page}")
    name = command_name()
    print("\nNow your own images:")
    print(f"  {name} init my.pool --images PHOTOS/")
    print(f"  {name} embed my.pool")
    print(f"  {name} query my.pool --batch-size 50 > batch.csv")


def command_name() -> str:
    """What to type for `poolwise` here: the bare name if it is on the path, else the way it was called."""
    if shutil.which("poolwise"):
        return "poolwise"
    return "python -m poolwise" if Path(sys.argv[0]).name == "__main__.py" else sys.argv[0]
