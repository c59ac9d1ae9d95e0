"""`poolwise bench`: strategies x data sets x seeds, with paired comparisons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import poolwise.pool  # noqa: F401  (registers every strategy)
from poolwise.bench.compare import compare as compare_results
from poolwise.bench.compare import to_rich as comparison_table
from poolwise.bench.leaderboard import leaderboard as make_leaderboard
from poolwise.bench.power import seeds_for
from poolwise.bench.run import run as run_suite
from poolwise.bench.suite import BUNDLED, bundled_names, describe, load_suite
from poolwise.bench.table import summarise, to_dict, to_markdown, to_rich
from poolwise.bench.tabular import format_table, run_tabular
from poolwise.bench.tabular.curves import write_curves
from poolwise.bench.tabular.protocol import N_INITIAL
from poolwise.cli.arguments import Address
from poolwise.cli.output import counted, echo_json, echo_rich, echo_table, say, show_progress
from poolwise.errors import OptionError
from poolwise.report.build_bench import bench_report
from poolwise.report.leaderboard import write_leaderboard

TABULAR = "Protocol of the published tabular benchmark beside its numbers; see `poolwise bench tabular --help`"

EXAMPLE = BUNDLED.parent / "add_method.md"


class SuiteGroup(TyperGroup):
    """`poolwise bench FILE.toml` and `poolwise bench NAME` mean `poolwise bench run ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert `run` where the first word is no subcommand."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


bench_app = typer.Typer(
    cls=SuiteGroup,
    no_args_is_help=True,
    help="Run a suite of strategies, data sets and seeds, and compare with paired intervals.\n\n"
    "`poolwise bench list` tells which suites can be run by name.\n\n"
    "Example:  poolwise bench low-budget",
)


@bench_app.command("run")
def run(
    suite: Annotated[str, typer.Argument(help="A suite file (TOML), or a name from `poolwise bench list`.")],
    out: Annotated[Path | None, typer.Option(help="Folder for results; default: runs/SUITE.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Run only so many of the suite's seeds.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 2,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of data; default: $POOLWISE_DATA or ../shared/data.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Where runs are done: processes, or ray.")] = "processes",
    address: Address = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not reuse finished runs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run a suite, or what is left of it, and print the table; `bench FILE.toml` and `bench NAME` are short for this.

    Example:  poolwise bench low-budget
    """
    if suite == "tabular" and not Path(suite).is_file():
        if fresh:
            raise OptionError("the tabular benchmark does not take --fresh; expected another folder. Give a new --out.")
        beside = None if data_dir is None else data_dir / "tabular" if (data_dir / "tabular").is_dir() else data_dir
        tabular(
            seeds=seeds or 100,
            data_dir=beside,
            workers=workers,
            out=out,
            engine=engine,
            address=address,
            as_json=as_json,
        )
        return
    plan = load_suite(suite)
    plan = replace(plan, seeds=plan.seeds[:seeds])
    folder = out or Path("runs") / Path(suite).stem
    with show_progress():
        results = run_suite(
            plan,
            out=folder,
            workers=workers,
            data_dir=data_dir,
            resume=not fresh,
            engine=engine,
            address=address,
        )
        page = bench_report(folder / "results.parquet", folder / "report.html")
    lines = summarise(results)
    (folder / "table.md").write_text(to_markdown(lines, results), encoding="utf-8")
    for dataset, strategy, seed, message in results.failures:
        say(f"failed: {strategy} on {dataset}, seed {seed}: {message}")
    if as_json:
        echo_json({**to_dict(lines, results), "report": str(page)})
    else:
        echo_rich(*to_rich(lines))
        say(f"Table: {folder}/table.md   Results: {folder}/results.parquet   Report: {page}")


@bench_app.command("list")
def list_suites(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the suites that can be run by name, with their size and the minutes they take on two cores.

    Example:  poolwise bench list
    """
    rows = [describe(load_suite(name)) for name in bundled_names()]
    rows.append({"suite": "tabular", "about": TABULAR, **dict.fromkeys(list(rows[0])[2:])})
    if as_json:
        echo_json({"suites": sorted(rows, key=lambda row: row["suite"])})
    else:
        echo_table("", sorted(rows, key=lambda row: row["suite"]))


@bench_app.command("compare")
def compare(
    a: Annotated[Path, typer.Argument(exists=True, help="Results of one run: a file, or the folder that holds it.")],
    b: Annotated[Path, typer.Argument(exists=True, help="Results of another.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two result files, of suites or of the tabular benchmark, paired by data set, strategy and seed.

    Example:  poolwise bench compare runs/before runs/after
    """
    changes = compare_results(a, b)
    if as_json:
        echo_json(changes.to_dict())
        return
    echo_rich(comparison_table(changes))
    for name, only in (("A", changes.only_a), ("B", changes.only_b)):
        if only:
            say(f"Only in {name}: {', '.join(f'{strategy} on {dataset}' for dataset, strategy in only)}")


@bench_app.command("power")
def power(
    results: Annotated[
        Path, typer.Argument(exists=True, help="Results of a run: a file, or the folder that holds it.")
    ],
    effect: Annotated[float, typer.Option(min=0.0, help="Difference in points of AUBC that should be seen.")] = 0.5,
    wanted: Annotated[float, typer.Option(min=0.0, max=1.0, help="Probability of seeing it.")] = 0.8,
    against: Annotated[str | None, typer.Option(help="Baseline; default: that of the suite, or random.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how many seeds a comparison with the baseline needs, from the spread over the seeds that were run.

    Example:  poolwise bench power runs/low-budget --effect 0.5
    """
    found = seeds_for(results, baseline=against, effect=effect / 100, wanted=wanted)
    if as_json:
        echo_json(found.to_dict())
        return
    title = f"Seeds to see {effect:g} points over {found.baseline} with {100 * wanted:g} % probability"
    echo_table(
        title,
        [
            {
                "dataset": line.dataset,
                "strategy": line.strategy,
                "seeds run": line.n_seeds,
                "difference": f"{100 * line.difference:+.2f}",
                "spread": None if line.spread is None else f"{100 * line.spread:.2f}",
                "power now": None if line.power is None else f"{100 * line.power:.0f} %",
                "seeds needed": line.seeds,
                "cautiously": line.seeds_cautious,
            }
            for line in found.lines
        ],
    )
    if any(line.spread is None for line in found.lines):
        say("One seed says nothing about spread: run at least three, such as with `--seeds 3`.")


@bench_app.command("leaderboard")
def leaderboard(
    results: Annotated[list[Path], typer.Argument(help="results.parquet files, or folders that hold one.")],
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("leaderboard.html"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the same facts as JSON.")] = False,
) -> None:
    """Write one page over several result files: ranks, who beats whom, areas with paired intervals, seconds.

    Example:  poolwise bench leaderboard runs/text runs/open-set --out page.html
    """
    board = make_leaderboard(results)
    page = write_leaderboard(board, out)
    if as_json:
        echo_json({**board.to_dict(), "page": str(page)})
    else:
        for group in board.groups:
            echo_table(
                f"{group.name} ({counted(len(group.datasets), 'data set')})",
                [
                    {"mean rank": f"{rank:.2f}", "strategy": name}
                    for name, rank in zip(group.strategies, group.ranks, strict=True)
                ],
            )
        say(f"Page: {page}")


@bench_app.command("add-method")
def add_method() -> None:
    """Print a worked example of a strategy in a package of your own that suites can name.

    Example:  poolwise bench add-method
    """
    print(EXAMPLE.read_text(encoding="utf-8"), end="")


@bench_app.command("tabular")
def tabular(
    datasets: Annotated[str, typer.Option(help="Names, separated by commas.")] = "appendicitis,sonar,ionosphere",
    strategies: Annotated[
        str, typer.Option(help="Names, separated by commas: of this benchmark, or any of `poolwise strategies`.")
    ] = "random,us,kcenter",
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 0.")] = 100,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of svmlight files, gzipped or not; default: ../shared/data/tabular.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Folder for results; a stopped run continues from it.")] = None,
    model: Annotated[
        str, typer.Option(help="Model trained after every query; svm-rbf is the published one.")
    ] = "svm-rbf",
    batch_size: Annotated[int, typer.Option(min=1, help="Items in a query.")] = 1,
    budget: Annotated[int | None, typer.Option(min=1, help="Labels to buy; default: the whole pool.")] = None,
    initial: Annotated[int, typer.Option(min=2, help="Labels known at the start; 20 are published.")] = N_INITIAL,
    engine: Annotated[str, typer.Option(help="Where runs are done: processes, or ray.")] = "processes",
    address: Address = None,
    curves: Annotated[
        Path | None, typer.Option(help="CSV file for the curves of accuracy, F1 and AUC; trains all models once more.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one row per run as JSON.")] = False,
) -> None:
    """Run the pool-based benchmark on tabular data and print our numbers next to the published ones.

    Example:  poolwise bench tabular --datasets appendicitis --strategies random,us --seeds 3
    """
    with show_progress():
        results = run_tabular(
            [name.strip() for name in datasets.split(",") if name.strip()],
            [name.strip() for name in strategies.split(",") if name.strip()],
            seeds=seeds,
            data_dir=data_dir,
            workers=workers,
            out=out,
            model=model,
            batch_size=batch_size,
            budget=budget,
            n_initial=initial,
            engine=engine,
            address=address,
        )
        if curves is not None:
            write_curves(results.rows, curves, data_dir=data_dir, workers=workers)
            say(f"Curves: {curves}")
    if as_json:
        for dataset, reason in results.missing:
            say(f"missing: {dataset}: {reason}")
        echo_json(results.to_dict())
    else:
        print(format_table(results))
