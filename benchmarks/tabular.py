"""Run the tabular benchmark and write benchmarks/results/tabular.{md,csv,svg}: `make bench-tabular`.

The plan spends its time where it tells most: Random, uncertainty sampling and Core-Set on every comparable set with
the 100 published seeds; model-based strategies with fewer seeds; those that retrain a model for every candidate on
the smallest sets. A stopped run continues from build/bench-tabular/rows.jsonl.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from poolwise.bench.tabular import Results, format_table, run_tabular
from poolwise.bench.tabular.report import write_report
from poolwise.progress import listening

SMALLEST = ("appendicitis", "ex8b", "sonar", "haberman")
MIDDLE = ("ionosphere", "clean1", "wdbc", "breast")
LARGER = ("australian", "ex8a", "diabetes", "mammographic", "gcloudub", "gcloudb")

PLAN: tuple[tuple[tuple[str, ...], tuple[str, ...], int], ...] = (
    ((*SMALLEST, *MIDDLE, *LARGER), ("random", "us", "kcenter"), 100),
    (SMALLEST, ("us_nc", "qbc", "mcm", "graph_density", "hier", "quire", "dwus"), 30),
    (MIDDLE, ("us_nc", "qbc", "mcm", "graph_density", "hier", "quire"), 5),
    (SMALLEST, ("eer", "vr", "hintsvm", "albl", "bmdr", "spal", "lal"), 5),
    (SMALLEST[:1], ("bso", "oracle_area"), 20),
)
"""(data sets, strategies, seeds)."""


def main() -> None:
    """Run what is missing, print the table, write the result files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", help="folder of svmlight files; default ../shared/data/tabular")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", default="build/bench-tabular", help="folder of the rows, continued if there")
    parser.add_argument("--out", default="benchmarks/results", help="folder of the result files")
    parser.add_argument("--stages", type=int, default=len(PLAN), help="run only the first stages of the plan")
    options = parser.parse_args()
    parts = []
    for datasets, strategies, seeds in PLAN[: options.stages]:
        with listening(lambda what, done, total: print(f"\r{what}: {done}/{total}", end="", flush=True)):
            parts.append(
                run_tabular(
                    datasets,
                    strategies,
                    seeds=seeds,
                    data_dir=options.data_dir,
                    workers=options.workers,
                    out=options.work,
                )
            )
        print()
    results = Results(
        rows=tuple(row for part in parts for row in part.rows),
        skipped=tuple(dict.fromkeys(skip for part in parts for skip in part.skipped)),
        missing=tuple(dict.fromkeys(gap for part in parts for gap in part.missing)),
        settings=parts[0].settings,
    )
    print(format_table(results))
    out = Path(options.out)
    notes = out / "tabular-notes.md"
    for path in write_report(results, out, notes.read_text(encoding="utf-8").strip() if notes.exists() else ""):
        print(path)


if __name__ == "__main__":
    main()
