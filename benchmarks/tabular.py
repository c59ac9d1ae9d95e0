"""Run the tabular benchmark and write benchmarks/results/tabular.{md,csv,svg}: `make bench-tabular`.

All 26 released data sets, all strategies. The plan spends its time where it tells most: Random, uncertainty sampling
and Core-Set with the 100 published seeds, model-based strategies with fewer, and those that retrain a model for every
candidate over the whole pool of the smallest sets, then over the first labels of larger ones. Sets of thousands of rows
are queried in batches of 20. A stopped run continues from build/bench-tabular/rows.jsonl.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from poolwise.bench.tabular import Results, format_table, run_tabular
from poolwise.bench.tabular.report import write_report
from poolwise.progress import listening


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the plan: every data set with every strategy and seeds 0, 1, ..."""

    datasets: tuple[str, ...]
    strategies: tuple[str, ...]
    seeds: int
    batch_size: int = 1
    budget: int | None = None
    n_initial: int = 20


SMALL = ("appendicitis", "ex8b", "sonar", "haberman")
MIDDLE = ("ionosphere", "clean1", "wdbc", "breast")
LARGER = ("australian", "diabetes", "ex8a", "mammographic", "tictactoe", "gcloudub", "gcloudb")
LARGE = ("checkerboard", "spambase", "banana", "ringnorm", "twonorm")
MULTI = ("iris", "wine", "seeds", "thyroid")

PLAIN = ("random", "us", "kcenter")
LIGHT = ("infodiv", "mcm", "us_nc", "graph_density", "hier")
MEDIUM = ("qbc", "quire", "dwus")
HEAVY = ("hintsvm", "albl", "eer")
HEAVIEST = ("bmdr", "spal", "lal", "vr")
ORACLES = ("bso", "oracle_area")

PLAN = (
    Stage((*SMALL, "ionosphere"), PLAIN, 100),
    Stage(SMALL, LIGHT, 15),
    Stage(SMALL, ("quire", "quire_libact"), 30),
    Stage(SMALL, (*MEDIUM, *HEAVY), 5),
    Stage(SMALL, HEAVIEST, 2),
    Stage((*MIDDLE, *LARGER), PLAIN, 5),
    Stage(MULTI, (*PLAIN, *LIGHT, "qbc"), 5),
    Stage((*MIDDLE, *LARGER), (*PLAIN, *LIGHT, *MEDIUM, *HEAVY, *HEAVIEST), 1, budget=40),
    Stage(("r15",), (*PLAIN, *LIGHT, "qbc"), 1, n_initial=100),
    Stage(("d31",), (*PLAIN, *LIGHT), 1, batch_size=20, n_initial=200),
    Stage(LARGE, (*PLAIN, *LIGHT, "qbc", "dwus", "hintsvm"), 1, batch_size=20, budget=400),
    Stage((*MIDDLE, *LARGER), LIGHT, 2),
    Stage(SMALL[:1], ORACLES, 5),
    Stage(("checkerboard",), PLAIN, 2),
    Stage(("spambase", "banana"), PLAIN, 1, batch_size=20),
    Stage((*MIDDLE, *LARGER), MEDIUM, 1),
    Stage(("ringnorm", "twonorm"), PLAIN, 1, batch_size=20),
    Stage(("wdbc", "australian", "diabetes", "clean1", "ex8a"), PLAIN, 100),
)
"""Cheap and telling first; the last stage, 100 seeds on the larger of the sets that the published table shares, is the
longest."""


def main() -> None:
    """Run what is missing, print the table, write the result files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", help="folder of svmlight files; default ../shared/data/tabular")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", default="build/bench-tabular", help="folder of the rows, continued if there")
    parser.add_argument("--out", default="benchmarks/results", help="folder of the result files")
    parser.add_argument("--stages", type=int, default=len(PLAN), help="run only the first stages of the plan")
    parser.add_argument("--as-is", action="store_true", help="run nothing; write the result files of what is there")
    options = parser.parse_args()
    parts = []
    for number, stage in enumerate(PLAN[: options.stages], start=1):
        with listening(lambda what, done, total: print(f"\r{what}: {done}/{total}", end="", flush=True)):
            print(f"stage {number} of {len(PLAN)}: {', '.join(stage.strategies)}")
            parts.append(
                run_tabular(
                    stage.datasets,
                    stage.strategies,
                    seeds=stage.seeds,
                    run_missing=not options.as_is,
                    data_dir=options.data_dir,
                    workers=options.workers,
                    out=options.work,
                    batch_size=stage.batch_size,
                    budget=stage.budget,
                    n_initial=stage.n_initial,
                )
            )
        print()
    rows = {(row.dataset, row.strategy, row.seed, row.setting): row for part in parts for row in part.rows}
    results = Results(
        rows=tuple(rows.values()),
        skipped=tuple(dict.fromkeys(skip for part in parts for skip in part.skipped)),
        missing=tuple(dict.fromkeys(gap for part in parts for gap in part.missing)),
        refused=tuple(dict.fromkeys(gap for part in parts for gap in part.refused)),
        failed=tuple(dict.fromkeys(gap for part in parts for gap in part.failed)),
        settings=parts[0].settings,
    )
    print(format_table(results))
    out = Path(options.out)
    notes = out / "tabular-notes.md"
    for path in write_report(results, out, notes.read_text(encoding="utf-8").strip() if notes.exists() else ""):
        print(path)


if __name__ == "__main__":
    main()
