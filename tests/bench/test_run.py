"""Facts about running a benchmark: paired, deterministic, resumable, never stale."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from poolwise import progress
from poolwise.bench import run as bench_run
from poolwise.bench.cell import Cell, run_cell
from poolwise.bench.results import read_results
from poolwise.bench.run import cell_key
from poolwise.bench.suite import make_suite
from poolwise.bench.tasks import load_task
from poolwise.chance import rng_for
from poolwise.errors import BudgetError, InputError, OptionError
from poolwise.registry import STRATEGIES, strategy
from poolwise.train.linear_probe import fit_linear
from poolwise.types import IndexArray


def without_seconds(rows):
    return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in rows]


def test_rows_are_complete_and_in_order(toy_suite):
    results = bench_run(toy_suite)
    assert len(results.rows) == 4 * 3 * 4
    assert results.column("n_labeled", strategy="margin", seed=1) == [10, 20, 30, 40]
    assert not results.failures
    assert all(0 <= row["accuracy"] <= 1 for row in results.rows)
    assert {row["oracle"] for row in results.rows if row["strategy"] == "balanced_random"} == {True}


def test_all_strategies_of_a_seed_begin_with_the_same_items_and_seeds_differ(toy_suite):
    results = bench_run(toy_suite)
    for seed in range(3):
        first = results.column("labeled_digest", seed=seed, round=0)
        assert len(first) == 4
        assert len(set(first)) == 1
        assert len(set(results.column("accuracy", seed=seed, round=0))) == 1
        assert len(set(results.column("labeled_digest", seed=seed, round=3))) == 4
    assert len(set(results.column("labeled_digest", strategy="random", round=0))) == 3


def test_rows_do_not_depend_on_the_number_of_workers_or_on_the_other_strategies(toy_suite):
    one = bench_run(toy_suite)
    two = bench_run(toy_suite, workers=2)
    assert without_seconds(one.rows) == without_seconds(two.rows)
    few = bench_run({**toy_suite, "strategies": ["coreset", "random"], "seeds": [2]})
    alone = [row for row in one.rows if row["strategy"] == "coreset" and row["seed"] == 2]
    assert without_seconds(row for row in few.rows if row["strategy"] == "coreset") == without_seconds(alone)


def test_accuracies_equal_those_of_a_loop_written_by_hand(toy_suite):
    results = bench_run({**toy_suite, "strategies": ["random", "least_confidence"], "seeds": 1})
    task = load_task("test_blobs")
    labeled = rng_for(0, "benchmark initial").permutation(200)[:10]
    head, accuracies = None, []
    for number in range(4):
        labeled = np.sort(labeled)
        seed = int(rng_for(0, "benchmark fit", number).integers(2**62))
        head = fit_linear(task.pool[labeled], task.pool_labels[labeled], 4, seed=seed, start=head)
        accuracies.append(np.mean(head.probs(task.test).argmax(axis=1) == task.test_labels))
        confidence = head.probs(task.pool).max(axis=1)
        confidence[labeled] = 2
        labeled = np.append(labeled, np.argsort(confidence, kind="stable")[:10])
    assert results.column("accuracy", strategy="least_confidence") == pytest.approx(accuracies)


def test_finished_runs_are_skipped_and_give_the_same_results(toy_suite, tmp_path):
    first = bench_run(toy_suite, out=tmp_path)
    seen = []
    with progress.listening(lambda what, done, total: seen.append((what, done, total))):
        again = bench_run(toy_suite, out=tmp_path)
    assert first.rows == again.rows  # seconds too: nothing ran
    assert ("benchmark toy", 12, 12) in seen
    assert not [done for what, done, _ in seen if what == "benchmark toy" and 0 < done < 12]
    assert read_results(tmp_path).rows == first.rows


def test_a_lost_or_torn_run_is_run_again_alone(toy_suite, tmp_path):
    first = bench_run(toy_suite, out=tmp_path)
    lost, torn, *rest = sorted((tmp_path / "cells").iterdir())
    times = {path: path.stat().st_mtime_ns for path in rest}
    lost.unlink()
    torn.write_text(torn.read_text()[:-20])
    again = bench_run(toy_suite, out=tmp_path)
    assert without_seconds(first.rows) == without_seconds(again.rows)
    assert times == {path: path.stat().st_mtime_ns for path in rest}


@pytest.mark.parametrize(
    "damage", ["", "[]", "{}", '{"key": 0, "rows": []}', "rows = []", "a row without a column", "\xff"]
)
def test_a_damaged_run_is_run_again(toy_suite, tmp_path, damage):
    first = bench_run({**toy_suite, "seeds": 1}, out=tmp_path)
    path = sorted((tmp_path / "cells").iterdir())[0]
    data = json.loads(path.read_text())
    if damage == "rows = []":
        path.write_text(json.dumps({**data, "rows": []}))
    elif damage == "a row without a column":
        data["rows"][1].pop("accuracy")
        path.write_text(json.dumps(data))
    else:
        path.write_bytes(damage.encode("latin-1"))
    again = bench_run({**toy_suite, "seeds": 1}, out=tmp_path)
    assert without_seconds(first.rows) == without_seconds(again.rows)
    assert json.loads(path.read_text())["key"] == path.stem


@pytest.mark.parametrize(
    "change",
    [
        {"learner": {"class_weight": "balanced"}},
        {"datasets": [{"task": "test_blobs", "initial": 11, "batch_size": 10, "rounds": 3}]},
        {"datasets": [{"task": "test_blobs:seed=1", "initial": 10, "batch_size": 10, "rounds": 3}]},
        {"datasets": [{"task": "test_blobs", "initial": {"strategy": 10}, "batch_size": 10, "rounds": 3}]},
    ],
)
def test_other_settings_or_data_never_use_old_results(toy_suite, change):
    def keys(data):
        suite = make_suite(data)
        digest = load_task(suite.datasets[0].task).digest
        return {cell_key(Cell(suite.datasets[0], s, 0, suite.learner), digest) for s in suite.strategies}

    assert not keys(toy_suite) & keys({**toy_suite, **change})


KILLED = """
import sys
from poolwise.bench import run
if __name__ == "__main__":
    run({"seeds": 4, "strategies": ["random", "margin"], "datasets": [
        {"task": "fashion_demo:pool=400", "initial": 20, "batch_size": 20, "rounds": 4}]}, out=sys.argv[1])
"""


def test_a_killed_benchmark_goes_on_where_it_was(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
    with subprocess.Popen([sys.executable, script, tmp_path / "killed"], env=env) as process:
        deadline = time.monotonic() + 300  # a busy machine may give this process a tenth of a core
        while len(list((tmp_path / "killed" / "cells").glob("*.json"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    there = len(list((tmp_path / "killed" / "cells").glob("*.json")))
    assert 2 <= there < 8
    suite = {
        "seeds": 4,
        "strategies": ["random", "margin"],
        "datasets": [{"task": "fashion_demo:pool=400", "initial": 20, "batch_size": 20, "rounds": 4}],
    }
    resumed = bench_run(suite, out=tmp_path / "killed")
    assert without_seconds(resumed.rows) == without_seconds(bench_run(suite).rows)


@pytest.mark.slow
def test_two_runs_into_one_folder_at_a_time_give_what_one_gives(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
    out = tmp_path / "shared"
    both = [subprocess.Popen([sys.executable, script, out], env=env) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert len(list((out / "cells").iterdir())) == 8
    assert not list(out.rglob(".*.writing"))
    subprocess.run([sys.executable, script, tmp_path / "alone"], env=env, check=True)
    assert without_seconds(read_results(out).rows) == without_seconds(read_results(tmp_path / "alone").rows)


def test_a_strategy_may_start_cold_where_it_can(toy_suite):
    suite = {
        **toy_suite,
        "datasets": [{"task": "test_blobs", "initial": {"strategy": 10}, "batch_size": 10, "rounds": 1}],
    }
    results = bench_run(suite)
    chosen = {
        name: results.column("chosen_by", strategy=name, round=0, seed=0)[0]
        for name in results.strategies("test_blobs")
    }
    assert chosen == {"random": "random", "margin": "random", "coreset": "strategy", "balanced_random": "strategy"}
    digest = {name: results.column("labeled_digest", strategy=name, round=0, seed=0)[0] for name in chosen}
    assert digest["random"] == digest["margin"] != digest["coreset"]


def test_classes_never_seen_do_not_stop_a_strategy(toy_suite):
    suite = {
        **toy_suite,
        "strategies": ["random", "margin", "base", "mase", "entropy"],
        "datasets": [{"task": "test_blobs:classes=8", "initial": 1, "batch_size": 2, "rounds": 3}],
    }
    results = bench_run(suite)
    assert not results.failures
    assert results.rows[0]["classes_seen"] == 1


def test_the_last_batch_is_what_is_left_of_the_pool(toy_suite):
    suite = {**toy_suite, "datasets": [{"task": "test_blobs:rows=25", "initial": 10, "batch_size": 10, "rounds": 5}]}
    results = bench_run(suite)
    assert results.column("n_labeled", strategy="coreset", seed=0) == [10, 20, 25]


def test_one_broken_strategy_does_not_end_the_benchmark(toy_suite, tmp_path):
    if "test_broken" not in STRATEGIES:

        @strategy("test_broken", family="baseline", paper="none")
        def broken(unlabeled: IndexArray, *, batch_size: int) -> IndexArray:
            raise RuntimeError("no luck")

    try:
        suite = {**toy_suite, "strategies": ["random", "test_broken"], "seeds": 2}
        results = bench_run(suite, out=tmp_path)
        assert results.failures == tuple(("blobs", "test_broken", seed, "RuntimeError: no luck") for seed in (0, 1))
        assert results.strategies("blobs") == ["random"]
        assert len(list((tmp_path / "cells").iterdir())) == 2  # failures are tried again
        with pytest.raises(InputError, match="all 2 runs"):
            bench_run({**suite, "strategies": ["test_broken"], "baseline": "test_broken"})
    finally:
        STRATEGIES._entries.pop("test_broken", None)


def test_an_initial_set_larger_than_the_pool_is_refused(toy_suite):
    suite = make_suite(
        {**toy_suite, "datasets": [{"task": "test_blobs", "initial": 201, "batch_size": 1, "rounds": 1}]}
    )
    with pytest.raises(BudgetError, match="between 1 and 200"):
        run_cell(Cell(suite.datasets[0], suite.strategies[0], 0, suite.learner), load_task("test_blobs"))
    with pytest.raises(OptionError, match="workers"):
        bench_run(toy_suite, workers=0)


def test_a_data_set_may_have_a_learner_of_its_own(toy_suite):
    other = {**toy_suite["datasets"][0], "label": "blobs, neighbours", "learner": {"name": "knn"}}
    results = bench_run(
        {**toy_suite, "seeds": 1, "strategies": ["random"], "datasets": [*toy_suite["datasets"], other]}
    )
    own = {row["dataset"]: row["temperature"] for row in results.rows}
    assert own["blobs"] is not None and own["blobs, neighbours"] is None
    headless = {"datasets": [other], "strategies": ["random", {"name": "base"}]}
    with pytest.raises(OptionError, match="reads the weights of a linear model"):
        make_suite({**toy_suite, **headless})
