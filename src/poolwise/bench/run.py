"""Run a suite: data sets x strategies x seeds over processes, one thread each, resumable run by run."""

from __future__ import annotations

import hashlib
import json
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from poolwise import progress
from poolwise.bench.cell import Cell, run_cell
from poolwise.bench.follows import code_digest
from poolwise.bench.results import SCHEMA, Results, write_atomic, write_results
from poolwise.bench.suite import Suite, load_suite, make_suite
from poolwise.bench.tasks import Task, load_task
from poolwise.engine import map_tasks
from poolwise.engine.door import check_settings
from poolwise.errors import InputError, PoolwiseError
from poolwise.registry import STRATEGIES
from poolwise.types import plain


def run(
    suite: Suite | Mapping[str, Any] | str | Path,
    *,
    out: str | Path | None = None,
    workers: int = 1,
    data_dir: str | Path | None = None,
    resume: bool = True,
    engine: str = "processes",
    address: str | None = None,
) -> Results:
    """Run a benchmark, or what is left of it.

    Parameters
    ----------
    suite : a TOML file, the name of a bundled suite, a dictionary with the same keys, or a Suite
    out : folder for the results: `cells/` with one file a finished run, and `results.parquet`; None keeps nothing
    workers : processes with one thread each. The rows, but for seconds, do not depend on it.
    data_dir : folder of data; see `bench.tasks.load_task`
    engine : "processes", or "ray"; other machines of a cluster must see the temporary folder (TMPDIR) of this one
    address : of a running Ray cluster; default: start Ray on this machine
    resume : skip runs whose results are in `out`. A result is used only if settings, data and code are the same.

    Returns
    -------
    Results in the order of the suite. Runs that failed are listed in `failures`; they are tried again next time.

    Raises
    ------
    InputError, OptionError, UnknownNameError
        If the suite or the data cannot be used, or every run failed.
    """
    plan = suite if isinstance(suite, Suite) else make_suite(suite) if isinstance(suite, Mapping) else load_suite(suite)
    check_settings(engine, workers, address)
    with tempfile.TemporaryDirectory(prefix="poolwise-bench-") as scratch:
        digests = _store_tasks(plan, Path(scratch), data_dir)
        cells = [
            Cell(dataset, strategy, seed, dataset.learner or plan.learner, plan.modules)
            for seed in plan.seeds  # outermost: a benchmark that is stopped has whole seeds everywhere
            for dataset in plan.datasets
            for strategy in plan.strategies
        ]
        folder = None if out is None else Path(out) / "cells"
        keys = [cell_key(cell, digests[cell.dataset.label]) for cell in cells]
        done = _finished(folder, keys) if folder is not None and resume else {}
        failures = []
        with progress.task(f"benchmark {plan.name}", len(cells)) as work:
            work.advance(len(done))
            places = {cell.dataset.label: str(Path(scratch) / digests[cell.dataset.label]) for cell in cells}
            todo = [(cell, key) for cell, key in zip(cells, keys, strict=True) if key not in done]
            for (cell, key), outcome in _outcomes(todo, places, engine, workers, address):
                if isinstance(outcome, str):
                    failures.append((cell.dataset.label, cell.strategy.label, cell.seed, outcome))
                else:
                    done[key] = outcome
                    if folder is not None:
                        write_atomic(folder / f"{key}.json", json.dumps({"key": key, "rows": outcome}))
                work.advance()
    if not done:
        raise InputError(f"all {len(cells)} runs of the benchmark failed; the first: {failures[0][3]}")
    by_cell = {(c.dataset.label, c.strategy.label, c.seed): key for c, key in zip(cells, keys, strict=True)}
    rows = [
        row
        for dataset in plan.datasets
        for strategy in plan.strategies
        for seed in plan.seeds
        for row in done.get(by_cell[dataset.label, strategy.label, seed], [])
    ]
    results = Results(tuple(rows), _settings(plan, digests), versions(), tuple(failures))
    if out is not None:
        write_results(results, Path(out) / "results.parquet")
    return results


def cell_key(cell: Cell, data_digest: str) -> str:
    """Digest of all that the numbers of a run follow from: settings, data and code."""
    facts = plain(asdict(cell)) | {"data": data_digest, "code": _code_digest(cell.strategy.name)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _code_digest(strategy: str) -> str:
    function = STRATEGIES[strategy].function
    typed_in = function.__code__.co_code.hex()  # all there is of a function without a file
    return code_digest(function.__module__) + typed_in


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    out = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("poolwise", "numpy", "scipy", "scikit-learn"):
        try:
            out[package] = version(package)
        except PackageNotFoundError:  # run from a source tree
            out[package] = "source"
    return out


def _settings(plan: Suite, digests: Mapping[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = plain(asdict(plan))
    settings["data_digests"] = dict(digests)
    return settings


def _store_tasks(plan: Suite, scratch: Path, data_dir: str | Path | None) -> dict[str, str]:
    """Load each task once and leave its arrays where every process can map them: label -> digest."""
    digests = {}
    with progress.task("loading benchmark data", len(plan.datasets)) as work:
        for dataset in plan.datasets:
            task = load_task(dataset.task, data_dir)
            if len(task.pool) < 2 or not np.isfinite(task.pool).all() or not np.isfinite(task.test).all():
                raise InputError(f"dataset {dataset.label!r} needs at least 2 pool items, and finite values only.")
            digests[dataset.label] = task.digest
            folder = scratch / task.digest
            folder.mkdir(exist_ok=True)
            for name in ("pool", "pool_labels", "test", "test_labels"):
                np.save(folder / f"{name}.npy", getattr(task, name), allow_pickle=False)
            (folder / "classes.json").write_text(json.dumps(task.classes), encoding="utf-8")
            work.advance()
    return digests


def _open_task(folder: str) -> Task:
    path = Path(folder)
    arrays = {
        name: np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in ("pool", "pool_labels", "test", "test_labels")
    }
    return Task(path.name, **arrays, classes=tuple(json.loads((path / "classes.json").read_text(encoding="utf-8"))))


def _finished(folder: Path, keys: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Read the runs that are done; a file that cannot be read counts as not done."""
    done = {}
    for key in keys:
        path = folder / f"{key}.json"
        if path.is_file():
            try:
                data = json.loads(path.read_text(encoding="utf-8"))
            except (ValueError, OSError):
                continue
            if isinstance(data, dict) and data.get("key") == key and _whole(data.get("rows")):
                done[key] = data["rows"]
    return done


def _whole(rows: Any) -> bool:
    """Tell whether rows read from a file are a run: at least one, each with all columns."""
    names = set(SCHEMA.names)
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) and set(row) == names for row in rows)


Outcome = list[dict[str, Any]] | str


def _outcomes(
    todo: Sequence[tuple[Cell, str]], places: Mapping[str, str], engine: str, workers: int, address: str | None
) -> Iterator[tuple[tuple[Cell, str], Outcome]]:
    if engine == "processes" and (workers == 1 or len(todo) < 2):
        with threadpool_limits(1):
            for cell, key in todo:
                yield (cell, key), _attempt(cell, places[cell.dataset.label])
        return
    items = [(cell, places[cell.dataset.label]) for cell, _ in todo]
    for position, outcome in map_tasks(_in_worker, items, engine=engine, workers=workers, address=address):
        yield todo[position], outcome


def _in_worker(item: tuple[Cell, str]) -> Outcome:
    with threadpool_limits(1):
        return _attempt(*item)


def _attempt(cell: Cell, place: str) -> Outcome:
    """Run a cell; what a strategy raises becomes its message, so that one strategy cannot end a benchmark."""
    try:
        return run_cell(cell, _open_task(place))
    except PoolwiseError as error:
        return str(error)
    except Exception as error:  # a strategy of a third party may raise anything
        return f"{type(error).__name__}: {error}"
