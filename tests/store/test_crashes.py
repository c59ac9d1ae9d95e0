"""kill -9 at random points: nothing acknowledged is lost, nothing half-done is seen, the next batch is the same.

In all 225 real kills of real processes. What must be on disk is computed here without the store.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from poolwise.store.arrays import PoolArrays
from poolwise.store.pool import PoolStore, batch_seed
from poolwise.types import Item

Kill = Callable[[str, Path, int], list[int]]

LONGEST_S = {"label": 0.006, "query": 0.008, "embed": 0.02, "append": 0.01, "create": 0.03}
"""Somewhat longer than one step of each job, so that every point of a step is hit."""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")


@pytest.fixture(scope="module")
def kill() -> Iterator[Kill]:
    """Run a job in a process of its own, kill it at a random moment, return what it had acknowledged."""
    moments = np.random.default_rng(0)
    environment = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("crash_worker.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"

    def run(job: str, path: Path, start: int) -> list[int]:
        assert server.stdin is not None
        assert server.stdout is not None
        wait_for, delay_s = int(moments.integers(4)), moments.uniform(0, LONGEST_S[job])
        server.stdin.write(json.dumps([job, str(path), start, wait_for, delay_s]) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())

    yield run
    server.stdin.close()
    server.stdout.close()
    server.wait(timeout=10)


def make_pool(path: Path, n: int) -> None:
    PoolStore.create(path, [Item(i, f"item-{i}") for i in range(n)], source={"kind": "test"}, seed=3).close()


def test_no_acknowledged_label_is_lost(kill: Kill, tmp_path: Path) -> None:
    make_pool(tmp_path / "p", 50)
    n_kept = 0
    for _ in range(60):
        done = kill("label", tmp_path / "p", n_kept)
        with PoolStore.open(tmp_path / "p") as pool:
            kept = pool.annotations()
            assert [a.annotator for a in kept] == [str(k) for k in range(len(kept))]
            n_acknowledged = n_kept + 3 * len(done)
            assert len(kept) in (n_acknowledged, n_acknowledged + 3)  # one call may have been cut off as it returned
            n_kept = len(kept)
            last = {k % 50: f"c{k % 5}" for k in range(n_kept)}
            names, state = pool.classes, pool.state()
            assert {i: names[state.labels[i]] for i in state.labeled.tolist()} == last
    assert n_kept > 180


def test_the_next_batch_is_the_one_an_undisturbed_pool_gives(kill: Kill, tmp_path: Path) -> None:
    make_pool(tmp_path / "p", 20_000)
    rest, expected, n_kept = np.arange(20_000), [], 0
    for _ in range(55):
        done = kill("query", tmp_path / "p", 0)
        with PoolStore.open(tmp_path / "p") as pool:
            batches = pool.batches()
            assert done == list(range(n_kept + 1, n_kept + len(done) + 1))
            assert len(batches) in (n_kept + len(done), n_kept + len(done) + 1)
            for batch in batches[n_kept:]:
                picks = np.random.default_rng(batch_seed(3, batch.number)).permutation(rest)[:7]
                expected.append(picks.tolist())
                rest = np.setdiff1d(rest, picks)
            assert [batch.selection.indices.tolist() for batch in batches] == expected
            assert pool.state().unlabeled.tolist() == rest.tolist()
            n_kept = len(batches)
    assert n_kept > 55


def test_no_half_array_is_seen_and_embedding_goes_on(kill: Kill, tmp_path: Path) -> None:
    arrays = PoolArrays(tmp_path / "p" / "arrays")
    everything = (np.arange(4000 * 64).reshape(4000, 64) % 1021).astype(np.float16)
    name, acknowledged = "embeddings@abc", set()
    for number in range(60):
        if number % 20 == 0:  # begin again, so that the first parts are hit too
            arrays.remove(name)
            acknowledged = set()
        acknowledged |= set(kill("embed", tmp_path / "p", 0))
        if name not in arrays:
            assert not acknowledged
            continue
        info = arrays.info(name)
        written = {part.start for part in info.parts}
        assert acknowledged <= written
        assert np.array_equal(arrays.read(name)[:], everything[: info.complete_rows])
        arrays.verify(name)
    assert len(arrays.info(name).parts) >= 10
    for gap in arrays.missing_rows(name, 4000):
        arrays.write_part(name, gap.start, everything[gap.start : gap.stop])
    assert np.array_equal(arrays.read(name, 4000)[:], everything)


def test_appended_items_are_all_there_or_none(kill: Kill, tmp_path: Path) -> None:
    make_pool(tmp_path / "p", 40)
    n_kept = 40
    for _ in range(40):
        done = kill("append", tmp_path / "p", 0)
        with PoolStore.open(tmp_path / "p") as pool:
            assert pool.n_items in (n_kept + 40 * len(done), n_kept + 40 * len(done) + 40)
            n_kept = pool.n_items
            assert pool.item_ids() == [f"item-{i}" for i in range(n_kept)]
            assert len(pool.state().unlabeled) == n_kept
    assert n_kept > 40 * 41


def test_a_created_pool_is_whole_or_absent(kill: Kill, tmp_path: Path) -> None:
    number = 0
    for _ in range(10):
        done = kill("create", tmp_path, number)
        for k in range(number, number + len(done)):
            assert PoolStore.open(tmp_path / str(k)).n_items == 2000
        number += len(done)
        cut_off = tmp_path / str(number)
        if (cut_off / "ledger.sqlite").exists():
            assert PoolStore.open(cut_off).n_items == 2000
            number += 1
    assert number >= 5
