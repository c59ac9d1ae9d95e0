"""Run the tabular benchmark: data sets x seeds in processes, strategies of one cell together, resumable."""

from __future__ import annotations

import difflib
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import sklearn
from threadpoolctl import threadpool_limits

from poolwise.bench.tabular.bridge import check_arrays, find_strategy
from poolwise.bench.tabular.code import code_digest
from poolwise.bench.tabular.evaluate import MODELS, Evaluator
from poolwise.bench.tabular.loader import TabularSet, default_data_dir, find_sets, load_set
from poolwise.bench.tabular.oracle import ORACLES, simulate_oracle
from poolwise.bench.tabular.protocol import N_INITIAL, SeedSkippedError, make_cell
from poolwise.bench.tabular.registry import TABULAR, check_fits
from poolwise.bench.tabular.results import Results, Row, append_rows, read_rows, row_of
from poolwise.bench.tabular.simulate import simulate
from poolwise.engine import map_tasks
from poolwise.engine.door import check_settings
from poolwise.errors import BudgetError, InputError, OptionError, PoolwiseError, UnknownNameError, unknown_name
from poolwise.progress import task

ROWS_FILE = "rows.jsonl"

UNDEFINED = {
    "sps": "the name appears in lists of methods, but neither published code base nor a paper we know defines it. "
    "Use `us`, `mcm` or another name from `TABULAR`.",
}
"""Names that are asked for but have no definition."""


@dataclass(frozen=True, slots=True)
class Work:
    """The strategies to run on one data set with one seed."""

    dataset: str
    seed: int
    strategies: tuple[str, ...]
    data_dir: str
    model: str
    batch_size: int
    budget: int | None
    n_initial: int

    @property
    def setting(self) -> str:
        """What must agree for two rows to be comparable."""
        budget = "pool" if self.budget is None else str(self.budget)
        return f"{self.model}, batch {self.batch_size}, budget {budget}, initial {self.n_initial}"


def run_tabular(
    datasets: Sequence[str],
    strategies: Sequence[str],
    *,
    seeds: int | Sequence[int] = 10,
    data_dir: str | Path | None = None,
    workers: int = 1,
    out: str | Path | None = None,
    model: str = "svm-rbf",
    batch_size: int = 1,
    budget: int | None = None,
    n_initial: int = N_INITIAL,
    run_missing: bool = True,
    engine: str = "processes",
    address: str | None = None,
) -> Results:
    """Run strategies on data sets, with the same splits and initial sets for every strategy.

    Parameters
    ----------
    datasets : names of files in data_dir; empty for all of them
    strategies : names in `TABULAR`, `oracle.ORACLES` or the registry of ordinary strategies (see `bridge`), in this
        order; empty for all of `TABULAR` that are not slow
    seeds : 100 stands for 0..99
    workers : processes, each with one thread; the rows do not depend on it
    out : folder whose rows.jsonl is continued, if there is one: rows that the same code and versions made are not run
        again; None keeps nothing on disk
    model : evaluation model, a name in `evaluate.MODELS`
    batch_size : labels bought between two models
    budget : labels to buy in each run; None for the whole pool
    n_initial : labels known at the start; more than the published 20 for sets of many classes
    run_missing : False runs nothing and returns the rows that are in `out`
    engine : "processes" or "ray"; other machines of a cluster must see `data_dir`
    address : of a running Ray cluster; default: start Ray on this machine

    Returns
    -------
    Rows sorted by data set and strategy in the order asked, then seed.

    Raises
    ------
    UnknownNameError
        If a strategy or a model does not exist.
    InputError
        If none of the data sets exists or can be read, the folder does not exist, or no seed can be run.
    OptionError
        If no seed, or fewer than one worker, is asked for, or no strategy fits a data set.

    Notes
    -----
    Cost: one fit of the evaluation model per label, strategy and seed; for a support vector machine about
    1 ms at 250 labels. A data set that is not there or cannot be read is named in `missing` as long as another runs.
    """
    folder = Path(data_dir) if data_dir is not None else default_data_dir()
    seed_list = list(range(seeds)) if isinstance(seeds, int) else list(dict.fromkeys(seeds))
    if not seed_list or min(seed_list) < 0 or workers < 1:
        raise OptionError(
            f"expected at least one seed (0 or more) and one worker; got seeds {seeds!r}, workers {workers}. "
            "Use such as `--seeds 10 --workers 2`."
        )
    names = list(dict.fromkeys(strategies)) or [s.name for s in TABULAR.entries() if s.cost in ("instant", "fast")]
    for name in names:
        if name in UNDEFINED:
            raise UnknownNameError(f"no tabular strategy named {name!r}: {UNDEFINED[name]}")
        if name not in ORACLES:
            find_strategy(name)
    if model not in MODELS:
        raise unknown_name("evaluation model", model, MODELS)
    there, missing = _readable(*_find(datasets, folder), folder)
    refused, works = [], []
    path = Path(out) / ROWS_FILE if out is not None else None
    now = {(dataset, name): _follows_from(dataset, name, str(folder)) for dataset in there for name in names}
    done = {
        (r.dataset, r.strategy, r.seed, r.setting): r
        for r in (read_rows(path) if path else ())
        if r.code == now.get((r.dataset, r.strategy))
    }
    for dataset in there:
        fitting = []
        for name in names:
            try:
                _check_fits(name, dataset, folder, batch_size)
                fitting.append(name)
            except OptionError as error:
                refused.append((dataset, name, str(error)))
        works += [
            Work(dataset, seed, tuple(fitting), str(folder), model, batch_size, budget, n_initial) for seed in seed_list
        ]
    if not any(work.strategies for work in works):
        raise OptionError("; ".join(reason for _, _, reason in refused))
    check_settings(engine, workers, address)
    rows, skipped, failed = _run_all(works, done, path, run_missing, (engine, workers, address))
    if failed and not rows:
        raise InputError(f"all {len(failed)} runs of the benchmark failed; the first: {failed[0][3]}")
    if skipped and not rows:
        raise InputError(
            f"none of the {len(skipped)} runs of data set and seed is possible; the first: {skipped[0][2]} "
            "Set the labels known at the start with `--initial`, or leave the data set out."
        )
    place = {key: i for i, key in enumerate((d, s) for d in there for s in names)}
    rows.sort(key=lambda row: (place[row.dataset, row.strategy], row.seed))
    return Results(
        rows=tuple(rows),
        skipped=tuple(sorted(skipped, key=lambda skip: (there.index(skip[0]), skip[1]))),
        missing=tuple(missing),
        refused=tuple(refused),
        failed=tuple(failed),
        settings={
            "seeds": seed_list,
            "model": model,
            "batch_size": batch_size,
            "budget": budget,
            "n_initial": n_initial,
            "scikit-learn": sklearn.__version__,
        },
    )


def _check_fits(name: str, dataset: str, folder: Path, batch_size: int) -> None:
    if name not in ORACLES:
        entry = find_strategy(name)
        check_fits(entry, dataset, load_readable(dataset, str(folder)).n_classes, batch_size)
        check_arrays(entry)
    elif batch_size > 1:
        raise OptionError(f"{name} adds one item at a time; got batch_size {batch_size}. Use 1.")


def _find(datasets: Sequence[str], folder: Path) -> tuple[list[str], list[tuple[str, str]]]:
    known = find_sets(folder)
    wanted = list(dict.fromkeys(datasets)) or list(known)
    remedy = f"Put its svmlight file into {str(folder)!r}, or name another folder with `--data-dir FOLDER`."
    missing = [(name, f"{unknown_name('data set', name, known)} {remedy}") for name in wanted if name not in known]
    there = [name for name in wanted if name in known]
    if not there:
        near = {name: difflib.get_close_matches(name, known, n=1) for name in wanted}
        named = [name + (f" (did you mean {near[name][0]!r}?)" if near[name] else "") for name in wanted]
        raise InputError(
            f"none of the data sets {', '.join(named) or '(all)'} is in {str(folder)!r}; it holds "
            f"{', '.join(known) or 'no svmlight file'}. Name another folder with `--data-dir FOLDER`."
        )
    return there, missing


def _readable(
    names: list[str], missing: list[tuple[str, str]], folder: Path
) -> tuple[list[str], list[tuple[str, str]]]:
    """Move the data sets whose files cannot be read to those that are missing."""
    there, missing = [], list(missing)
    for name in names:
        try:
            load_readable(name, str(folder))
            there.append(name)
        except InputError as error:
            missing.append((name, str(error)))
    if not there:
        raise InputError("; ".join(reason for _, reason in missing))
    return there, missing


@lru_cache(maxsize=32)
def load_readable(dataset: str, folder: str) -> TabularSet:
    """Load a data set; whatever is wrong with its file becomes an InputError that names it. Kept in memory."""
    try:
        return load_set(dataset, Path(folder))
    except PoolwiseError:
        raise
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        what = f"expected svmlight text, gzipped or not; got {type(error).__name__}: {error}. Fetch the file again."
    except MemoryError as error:
        what = f"expected a table that fits into memory; got {error}. Number the features 1, 2, ... without large gaps."
    except (KeyError, ValueError) as error:
        what = (
            "expected index.csv with the columns name, n, d, class_counts (such as -1:85|+1:21) and sha256; got "
            f"{type(error).__name__}: {error}. Correct or remove index.csv."
        )
    raise InputError(f"data set {dataset!r}, file {find_sets(Path(folder))[dataset].name!r}: {what}")


def _follows_from(dataset: str, strategy: str, folder: str) -> str:
    return f"{code_digest(strategy)}-{_data_digest(dataset, folder)}"


@lru_cache(maxsize=256)
def _data_digest(dataset: str, folder: str) -> str:
    data = load_readable(dataset, folder)
    return hashlib.sha256(data.x.tobytes() + data.y.tobytes()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the strategies of one cell.

    failed : (strategy, message); skipped : why the seed cannot be run, "" if it can
    """

    rows: tuple[Row, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    skipped: str = ""


def _run_all(
    works: Sequence[Work],
    done: dict[tuple[str, str, int, str], Row],
    path: Path | None,
    run_missing: bool,
    where: tuple[str, int, str | None],
) -> tuple[list[Row], list[tuple[str, int, str]], list[tuple[str, str, int, str]]]:
    rows: list[Row] = []
    skipped: list[tuple[str, int, str]] = []
    failed: list[tuple[str, str, int, str]] = []
    open_works = []
    for work in works:
        keys = [(work.dataset, name, work.seed, work.setting) for name in work.strategies]
        rows += [done[key] for key in keys if key in done]
        rest = tuple(key[1] for key in keys if key not in done)
        if rest and run_missing:
            open_works.append(replace(work, strategies=rest))
    with task("tabular benchmark", len(open_works)) as progress:
        for work, outcome in _outcomes(open_works, *where):
            rows += outcome.rows
            failed += [(work.dataset, name, work.seed, message) for name, message in outcome.failed]
            if outcome.skipped:
                skipped.append((work.dataset, work.seed, outcome.skipped))
            if path is not None and outcome.rows:
                append_rows(path, outcome.rows)
            progress.advance()
    return rows, skipped, failed


def _outcomes(works: Sequence[Work], engine: str, workers: int, address: str | None) -> Iterator[tuple[Work, Outcome]]:
    if engine == "processes" and workers == 1:
        for work in works:
            yield work, run_cell(work)
        return
    for position, outcome in map_tasks(run_cell, works, engine=engine, workers=workers, address=address):
        yield works[position], outcome


def run_cell(work: Work) -> Outcome:
    """Run the strategies of one cell in this process with one thread; what a strategy raises ends it alone."""
    data = load_readable(work.dataset, work.data_dir)
    try:
        cell = make_cell(data, work.seed, work.n_initial)
    except SeedSkippedError as error:
        return Outcome(skipped=str(error))
    evaluator = Evaluator(cell, work.model)
    rows, failed = [], []
    with threadpool_limits(1), sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        for name in work.strategies:
            try:
                if name in ORACLES:
                    curve = simulate_oracle(cell, name, evaluator, work.budget)
                else:
                    curve = simulate(cell, name, evaluator, batch_size=work.batch_size, budget=work.budget)
            except BudgetError:
                raise  # of the whole run, not of one strategy
            except Exception as error:  # a strategy of a third party may raise anything
                failed.append((name, f"{type(error).__name__}: {error}"))
                continue
            code = _follows_from(work.dataset, name, work.data_dir)
            rows.append(row_of(curve, work.dataset, name, work.seed, work.setting, code))
    return Outcome(tuple(rows), tuple(failed))
