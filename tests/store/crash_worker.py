"""Works on a pool until it is killed: run as a script, driven line by line over stdin by test_crashes.py.

Each line is a JSON job. The job runs in a fork that acknowledges over a pipe what has returned; the
fork gets SIGKILL at some moment; the answer is one JSON line with all acknowledgements.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from poolwise.store.arrays import PoolArrays
from poolwise.store.pool import PoolStore, batch_seed
from poolwise.types import Annotation, Item, PoolState, Selection


def label(path: Path, start: int) -> Iterator[int]:
    """Label item k % N with class k % 5, three k at a time from `start` on."""
    pool = PoolStore.open(path)
    for k in range(start, start + 30_000, 3):
        answers = [Annotation(j % pool.n_items, f"c{j % 5}", annotator=str(j)) for j in range(k, k + 3)]
        pool.annotate(answers, allow_unasked=True)
        yield k


def query(path: Path, start: int) -> Iterator[int]:
    """Ask for seven random items at a time."""

    def choose(state: PoolState, seed: int) -> Selection:
        picks = np.random.default_rng(seed).permutation(state.unlabeled)[:7]
        return Selection(picks, None, "random", {}, seed, 0.0)

    pool = PoolStore.open(path)
    while True:
        yield pool.ask(choose).number


def embed(path: Path, start: int) -> Iterator[int]:
    """Write the missing rows in parts of 50; the value in row i, column j is (i * 64 + j) % 1021."""
    arrays = PoolArrays(path / "arrays")
    for gap in arrays.missing_rows("embeddings@abc", 4000):
        for first in range(gap.start, gap.stop, 50):
            rows = np.arange(first * 64, (first + 50) * 64).reshape(50, 64) % 1021
            arrays.write_part("embeddings@abc", first, rows.astype(np.float32))
            yield first


def append(path: Path, start: int) -> Iterator[int]:
    """Append forty items at a time."""
    pool = PoolStore.open(path)
    while True:
        n = pool.n_items
        yield pool.append_items(Item(0, f"item-{i}") for i in range(n, n + 40)).stop


def create(path: Path, start: int) -> Iterator[int]:
    """Create pools of 2,000 items: path/<start>, path/<start + 1>, ..."""
    for k in range(start, start + 10_000):
        PoolStore.create(path / str(k), (Item(0, f"item-{i}") for i in range(2000)), source={"kind": "test"})
        yield k


JOBS: dict[str, Callable[[Path, int], Iterator[int]]] = {
    "label": label,
    "query": query,
    "embed": embed,
    "append": append,
    "create": create,
}


def run_and_kill(job: str, path: str, start: int, wait_for: int, delay_s: float) -> list[int]:
    """Fork, let the child work, kill it a moment after `wait_for` acknowledgements; return all it gave."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for done in JOBS[job](Path(path), start):
                os.write(writer, f"{done}\n".encode())
            os._exit(0)
        except BaseException as error:
            os.write(writer, f"error {error!r}\n".encode())
            os._exit(1)
    os.close(writer)
    heard = b""
    while heard.count(b"\n") < wait_for and (data := os.read(reader, 65536)):
        heard += data
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while data := os.read(reader, 65536):
        heard += data
    os.close(reader)
    lines = heard.decode().split("\n")[:-1]
    if lines and lines[-1].startswith("error"):
        raise RuntimeError(lines[-1])
    return [int(line) for line in lines]


if __name__ == "__main__":
    np.random.default_rng(batch_seed(0, 1))  # imported lazily; else the first fork would spend its life on it
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(run_and_kill(*json.loads(line))), flush=True)
