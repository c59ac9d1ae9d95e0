"""Where the time of one query goes, for `auto` and choices among strategies: scoring, search, training.

    python -m benchmarks.auto_seconds > benchmarks/results/auto-seconds.json

One seed of the suite `auto.toml`: in each setting a linear head is fitted to the first labels, then each strategy is
asked for one batch, three times; the fastest counts. Parts are shares of the wall time, told as processor time, which
other work on the machine hardly changes. `benchmarks/auto_table.py` puts the means on its page.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import poolwise as pw
from poolwise.bench.suite import load_suite
from poolwise.bench.tasks import load_task
from poolwise.bench.world import draw_world
from poolwise.chance import rng_for
from poolwise.registry import STRATEGIES
from poolwise.train.learners import LinearProbe
from poolwise.train.linear_probe import ProbeSettings

SUITE = Path(__file__).parent / "suites" / "auto.toml"
SEED = 20
REPEATS = 3
PARTS = ("scoring", "search", "training")


def query_seconds(strategy: str, arrays: dict[str, Any], batch_size: int, options: dict[str, Any]) -> dict[str, float]:
    """Processor seconds of the cheapest of some equal queries: the candidates, heads of its own, the rest, and all."""
    best: dict[str, float] = {}
    for _ in range(REPEATS):
        start = time.process_time()
        batch = pw.select(strategy, **arrays, batch_size=batch_size, seed=SEED, **options)
        spent = time.process_time() - start
        told = {part: float(batch.notes.get(f"seconds_{part}", 0.0)) for part in PARTS}
        told["search"] = max(0.0, batch.seconds - told["scoring"] - told["training"])
        if not best or spent < best["total"]:
            best = {part: value / batch.seconds * spent for part, value in told.items()} | {"total": spent}
    return best


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=None)
    given = parser.parse_args()
    suite = load_suite(SUITE)
    chosen = [use for use in suite.strategies if STRATEGIES[use.name].family in ("auto", "selector")]
    spent: dict[str, list[dict[str, float]]] = {use.label: [] for use in chosen}
    with threadpool_limits(1):
        for dataset in suite.datasets:
            world = draw_world(load_task(dataset.task, given.data_dir), dataset, SEED)
            first = np.sort(rng_for(SEED, "first labels").permutation(len(world.pool))[: dataset.initial])
            labeled = first[world.answers[first] >= 0]
            model = LinearProbe(ProbeSettings()).fit(
                world.pool[labeled], world.answers[labeled], world.n_classes, seed=SEED, start=None
            )
            arrays = {
                "embeddings": world.pool,
                "head_weight": model.head_weight,
                "head_bias": model.head_bias,
                "labeled": labeled,
                "labels": world.answers[labeled],
            }
            for use in chosen:
                spent[use.label].append(query_seconds(use.name, arrays, dataset.batch_size, dict(use.options)))
    records = [
        {"strategy": label, **{part: round(float(np.mean([r[part] for r in rows])), 5) for part in (*PARTS, "total")}}
        for label, rows in spent.items()
    ]
    told = {"command": "python -m benchmarks.auto_seconds", "settings": len(suite.datasets), "seed": SEED}
    print(json.dumps(told | {"records": records}, indent=1))


if __name__ == "__main__":
    main()
