"""Run a suite, or what is left of it, and write its committed results.

    python -m benchmarks.publish benchmarks/suites/images.toml --workers 2
    python -m benchmarks.publish low-budget

writes benchmarks/results/images.parquet and images.md, or those of the bundled suite of that name. `--seeds 3`
publishes the first three seeds only.

    python -m benchmarks.publish --done runs/images

publishes a folder of `poolwise bench` as it is, and runs nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from poolwise.bench import Results, load_suite, read_results, run, summarise, to_markdown, write_results
from poolwise.bench.table import Line, losers, winners

RESULTS = Path(__file__).parent / "results"


def page(results: Results, stem: str) -> str:
    """Write the page: how it is made, what it says in short, the tables, and all settings."""
    lines = summarise(results)
    file = f"benchmarks/suites/{stem}.toml"
    suite = file if (RESULTS.parents[1] / file).is_file() else stem
    text = "\n\n".join(
        [
            f"# Results of the suite `{results.settings['name']}`",
            f"Made by `python -m benchmarks.publish {suite}`: {len(results.rows)} rows in `{stem}.parquet`.",
            "## In short",
            *in_short(lines, str(results.settings["baseline"])),
            to_markdown(lines, results).rstrip(),
            "## Settings",
            *settings_of(results),
        ]
    )
    return text + "\n"


def settings_of(results: Results) -> list[str]:
    """Say all that the numbers follow from: seeds, learner, data sets, strategies with options, versions."""
    settings = results.settings
    tables = [
        "| Data set | Task | First labels | Batch | Rounds | Changes | Digest |",
        "| --- | --- | --- | ---: | ---: | --- | --- |",
    ]
    for use in settings["datasets"]:
        first = f"{use['initial']} " + ("at random" if use["start"] == "random" else "by the strategy where it can")
        usual = {"resample": 1.0, "long_tail": 1.0, "foreign": 0.0, "noise": 0.0}
        changes = ", ".join(f"{key} {use[key]:g}" for key, value in usual.items() if use.get(key, value) != value)
        if use.get("learner"):
            changes = ", ".join(filter(None, [changes, f"learner {_listed(use['learner'])}"]))
        digest = settings.get("data_digests", {}).get(use["label"], "")
        tables.append(
            f"| {use['label']} | `{use['task']}` | {first} | {use['batch_size']} | {use['rounds']} "
            f"| {changes or 'none'} | `{digest}` |"
        )
    named = [_named(use) for use in settings["strategies"]]
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    facts = [
        f"- Seeds: {', '.join(str(seed) for seed in settings['seeds'])}.",
        f"- Learner: {_listed(settings['learner'])}.",
        f"- Versions: {versions}.",
        f"- Strategies, with default options but where named: {', '.join(named)}.",
    ]
    return ["\n".join(facts), "\n".join(tables)]


def _named(use: Mapping[str, Any]) -> str:
    """Name a strategy with everything that differs from its defaults."""
    more = dict(use["options"]) | ({"ood": use["ood"]} if use.get("ood") else {})
    return f"`{use['name']}`" + (f" ({_listed(more)})" if more else "")


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in values.items())


def in_short(lines: Sequence[Line], baseline: str) -> list[str]:
    """Say, strategy by strategy, on how many data sets it beats the baseline, loses to it, or neither."""
    better, worse = winners(lines), losers(lines)
    names = sorted({line.strategy for line in lines if line.against is not None and not line.oracle})
    rows = [(name, *(sum(name in found[d] for d in found) for found in (better, worse))) for name in names]
    rows.sort(key=lambda row: (row[2] - row[1], row[0]))
    table = [f"| Strategy | better than {baseline} | worse than {baseline} | unclear |", "| --- | ---: | ---: | ---: |"]
    table += [f"| {name} | {up} | {down} | {len(better) - up - down} |" for name, up, down in rows]
    lost = [f"{name} (on {down} of {len(better)})" for name, _, down in rows if down]
    return [
        f"Data sets on which the area under the learning curve differs from that of {baseline} at 5 % (Holm):",
        "\n".join(table),
        f"**Strategies that lose to {baseline} somewhere: {', '.join(lost) or 'none'}.**",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", nargs="?", help="a suite file, or a name from `poolwise bench list`")
    parser.add_argument("--done", type=Path, help="publish this folder of runs as it is")
    parser.add_argument("--out", type=Path, help="folder of the runs; default runs/SUITE")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seeds", type=int, help="publish only so many seeds")
    given = parser.parse_args(arguments)
    if (given.suite is None) == (given.done is None):
        parser.error("name a suite, or a folder with --done")
    if given.done is not None:
        results = read_results(given.done)
        stem = str(results.settings["name"])
    else:
        stem = Path(given.suite).stem
        suite = load_suite(given.suite)
        suite = replace(suite, seeds=suite.seeds[: given.seeds])
        results = run(suite, out=given.out or Path("runs") / stem, workers=given.workers, data_dir=given.data_dir)
    RESULTS.mkdir(exist_ok=True)
    write_results(results, RESULTS / f"{stem}.parquet")
    text = page(results, stem)
    (RESULTS / f"{stem}.md").write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
