"""Run a suite, or what is left of it, and write its committed results.

    python -m benchmarks.publish benchmarks/suites/images.toml --workers 2
    python -m benchmarks.publish low-budget

writes benchmarks/results/images.parquet and images.md, or those of the bundled suite of that name. `--seeds 3`
publishes the first three seeds only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from poolwise.bench import Results, load_suite, run, summarise, to_markdown, write_results
from poolwise.bench.table import Line, losers, winners

RESULTS = Path(__file__).parent / "results"


def page(lines: Sequence[Line], results: Results, suite: str) -> str:
    """Write the page: how it was made, what it says in short, and the tables."""
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    n_seeds = len(results.settings["seeds"])
    return "\n\n".join(
        [
            f"# Results of the suite `{results.settings['name']}`",
            f"Made by `python -m benchmarks.publish {suite}`: {n_seeds} seeds, {len(results.rows)} rows in "
            f"`{Path(suite).stem}.parquet`. {versions}.",
            "## In short",
            *in_short(lines),
            to_markdown(lines, results),
        ]
    )


def in_short(lines: Sequence[Line]) -> list[str]:
    """Say, strategy by strategy, on how many data sets it beats the baseline, loses to it, or neither."""
    better, worse = winners(lines), losers(lines)
    names = sorted({line.strategy for line in lines if line.against is not None and not line.oracle})
    rows = [(name, *(sum(name in found[d] for d in found) for found in (better, worse))) for name in names]
    rows.sort(key=lambda row: (row[2] - row[1], row[0]))
    table = ["| Strategy | better than random | worse than random | unclear |", "| --- | ---: | ---: | ---: |"]
    table += [f"| {name} | {up} | {down} | {len(better) - up - down} |" for name, up, down in rows]
    lost = [f"{name} (on {down} of {len(better)})" for name, _, down in rows if down]
    return [
        "Data sets on which the area under the learning curve differs from that of random at 5 % (Holm):",
        "\n".join(table),
        f"**Strategies that lose to random somewhere: {', '.join(lost) or 'none'}.**",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", help="a suite file, or a name from `poolwise bench list`")
    parser.add_argument("--out", type=Path, help="folder of the runs; default runs/SUITE")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seeds", type=int, help="publish only so many seeds")
    given = parser.parse_args(arguments)
    suite = load_suite(given.suite)
    suite = replace(suite, seeds=suite.seeds[: given.seeds])
    name = Path(given.suite).stem
    out = given.out or Path("runs") / name
    results = run(suite, out=out, workers=given.workers, data_dir=given.data_dir)
    RESULTS.mkdir(exist_ok=True)
    write_results(results, RESULTS / f"{name}.parquet")
    text = page(summarise(results), results, given.suite)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
