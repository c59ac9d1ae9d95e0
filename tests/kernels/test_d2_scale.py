"""D2 sampling at size: time and memory grow as promised, and a pool on disk stays there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from poolwise.kernels.d2 import d2_sample
from poolwise.kernels.vectors import GradientVectors

pytestmark = pytest.mark.scale


@pytest.fixture(autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


def pool(n: int, n_classes: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    h = np.maximum(rng.normal(size=(n, 16)) @ rng.normal(size=(16, width)), 0).astype(np.float32)
    z = 2 * h @ rng.normal(size=(width, n_classes)).astype(np.float32) / np.sqrt(width)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32), h


def seconds(p: np.ndarray, h: np.ndarray, count: int) -> float:
    times = []
    for seed in range(3):
        start = time.process_time()
        d2_sample([GradientVectors(p, h, np.arange(len(h)))], count, np.random.default_rng(seed), first="largest")
        times.append(time.process_time() - start)
    return min(times)


def test_time_grows_at_most_linearly_in_the_pool() -> None:
    p, h = pool(160_000, 20, 128)
    sizes = [20_000, 40_000, 80_000, 160_000]
    slope = np.polyfit(np.log(sizes), np.log([seconds(p[:n], h[:n], 1000) for n in sizes]), 1)[0]
    assert slope <= 1.0


def test_a_hundred_times_faster_than_one_pass_per_pick() -> None:
    p, h = pool(60_000, 1000, 512)
    e = p.copy()
    e[np.arange(len(e)), p.argmax(axis=1)] -= 1
    sq = np.einsum("ij,ij->i", e, e) * np.einsum("ij,ij->i", h, h)
    gap, pick = np.full(len(h), np.inf, dtype=np.float32), 0
    loop = []
    for _ in range(8):
        start = time.process_time()
        np.minimum(gap, np.maximum(sq + sq[pick] - 2 * (e @ e[pick]) * (h @ h[pick]), 0), out=gap)
        pick = int(np.searchsorted(np.cumsum(gap, dtype=np.float64), 0.5 * gap.sum()))
        loop.append(time.process_time() - start)
    per_pick = min(loop)
    assert 2000 * per_pick / seconds(p, h, 2000) >= 100


CHILD = """
import sys, threading, time
import numpy as np
from poolwise.kernels.blocks import LinearLogits, Softmax
from poolwise.kernels.d2 import d2_sample
from poolwise.kernels.vectors import GradientVectors

def anonymous_kib():
    return int(next(l for l in open("/proc/self/status") if l.startswith("RssAnon")).split()[1])

x = np.load(sys.argv[1], mmap_mode="r")[: int(sys.argv[2])]
w = np.random.default_rng(1).normal(size=(100, x.shape[1])).astype(np.float32)
base, peak = anonymous_kib(), [0]

def watch():
    while True:
        peak[0] = max(peak[0], anonymous_kib())
        time.sleep(0.01)

threading.Thread(target=watch, daemon=True).start()
vectors = GradientVectors(Softmax(LinearLogits(x, w)), x, np.arange(len(x)))
d2_sample([vectors], 500, np.random.default_rng(0), first="largest")
print(peak[0] - base)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_of_a_pool_on_disk_grows_by_bytes_per_row_not_by_its_width(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "x.npy"
    np.save(path, rng.normal(size=(160_000, 256)).astype(np.float16))
    source = str(Path(__file__).resolve().parents[2] / "src")
    env = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}

    def peak_bytes(n: int) -> int:
        out = subprocess.run(
            [sys.executable, "-c", CHILD, str(path), str(n)], env=env, capture_output=True, text=True, check=True
        )
        return 1024 * int(out.stdout)

    small, large = peak_bytes(40_000), peak_bytes(160_000)
    assert (large - small) / 120_000 < 100  # bytes per row; a row of the pool has 512, its logits 400
    assert large < 200 * 2**20
