"""k-center: the same picks as the textbook loop, whatever the storage, the blocks, the shards and the data."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.speed.generators import isotropic, structured
from benchmarks.speed.kept import in_child

from poolwise.errors import InputError
from poolwise.kernels import (
    kcenter,
    kcenter_bounds,
    kcenter_centres,
    kcenter_exact,
    kcenter_frame,
    kcenter_shard,
    kcenter_window,
)
from poolwise.kernels.blocks import ShardedRows
from poolwise.kernels.kcenter import KCenterPicks, k_center
from poolwise.kernels.kcenter_window import Candidates, foremost, merge

NONE = np.empty(0, dtype=np.int64)


def textbook(
    x: np.ndarray, labeled: np.ndarray, unlabeled: np.ndarray, batch_size: int
) -> tuple[list[int], list[float]]:
    """Farthest-first traversal in float64 with plain differences, one pass over the pool per pick."""
    rows = x[unlabeled].astype(np.float64)
    gap = np.full(len(rows), np.inf)
    for centre in labeled:
        gap = np.minimum(gap, ((rows - x[centre].astype(np.float64)) ** 2).sum(axis=1))
    batch, radius = [], []
    for _ in range(batch_size):
        if not len(labeled) and not batch:
            pos = int(((rows - rows.mean(axis=0)) ** 2).sum(axis=1).argmin())
        else:
            pos = int(gap.argmax())
        batch.append(int(unlabeled[pos]))
        radius.append(float(np.sqrt(gap[pos])))
        gap = np.minimum(gap, ((rows - rows[pos]) ** 2).sum(axis=1))
        gap[pos] = -np.inf
    return batch, radius


def split(n: int, n_labeled: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    labeled = np.sort(np.random.default_rng(seed).choice(n, n_labeled, replace=False))
    return labeled, np.setdiff1d(np.arange(n), labeled)


@pytest.fixture
def windowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make small pools take the path of large ones: no plain window, little room, small blocks."""
    monkeypatch.setattr(kcenter_shard, "PLAIN_ROWS", 16)
    monkeypatch.setattr(kcenter_frame, "MIN_CENTRES", 10)
    for module in (kcenter, kcenter_window):
        monkeypatch.setattr(module, "WINDOW", 64)
    modules = (kcenter, kcenter_bounds, kcenter_centres, kcenter_exact, kcenter_frame, kcenter_shard, kcenter_window)
    for module in modules:
        monkeypatch.setattr(module, "CHUNK", 64)


def make(name: str) -> np.ndarray:
    r = np.random.default_rng(1)
    makers = {
        "structured": lambda: structured(4000, 160),
        "isotropic": lambda: isotropic(4000, 160),
        "narrow": lambda: isotropic(4000, 7),
        "float16": lambda: structured(3000, 160).astype(np.float16),
        "offset": lambda: isotropic(3000, 32) + np.float32(100),
        "float64 offset": lambda: r.normal(size=(2000, 20)) + 1e7,
        "float64 tiny": lambda: 1e-60 * r.normal(size=(2000, 20)),
        "low rank": lambda: np.vstack([r.normal(size=(2000, 30)) @ r.normal(size=(30, 150)), r.normal(size=(40, 150))]),
        "constant": lambda: np.full((2000, 20), 3.3, dtype=np.float32),
        "ten distinct rows": lambda: np.repeat(r.normal(size=(10, 150)), 200, axis=0)[r.permutation(2000)],
        "binary": lambda: r.integers(0, 2, size=(3000, 24)).astype(np.float32),
        "grid": lambda: r.integers(0, 5, size=(3000, 3)).astype(np.float64),
        "line": lambda: r.integers(0, 1000, size=(3000, 1)).astype(np.float32),
        "outlier": lambda: np.vstack([r.normal(size=(2000, 16)), np.full((1, 16), 1e6)]),
        "two far groups": lambda: np.vstack([r.normal(size=(800, 150)), 1e4 + r.normal(size=(800, 150))]),
        "tight clusters": lambda: (
            r.normal(size=(20, 150))[r.integers(20, size=1500)] + 1e-4 * r.normal(size=(1500, 150))
        ),
        "float16 extremes": lambda: (r.choice([-65504, 65504], (2000, 20)) * r.random((2000, 20))).astype(np.float16),
        "tiny": lambda: (1e-30 * r.normal(size=(2000, 20))).astype(np.float32),
        "huge": lambda: (1e30 * r.normal(size=(2000, 20))).astype(np.float32),
    }
    return makers[name]()


NAMES = [
    *("structured", "isotropic", "narrow", "float16", "offset", "constant", "ten distinct rows", "binary", "grid"),
    *("float64 offset", "float64 tiny", "low rank"),
    *("line", "outlier", "two far groups", "tight clusters", "float16 extremes", "tiny", "huge"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_labeled", [0, 40])
def test_windows_pick_what_the_textbook_loop_picks(name: str, n_labeled: int, windowed: None) -> None:
    x = make(name)
    labeled, unlabeled = split(len(x), n_labeled)
    want, radius = textbook(x, labeled, unlabeled, 150)
    for n_shards in (1, 3):
        got = k_center(x, labeled, unlabeled, 150, n_shards=n_shards)
        assert got.indices.tolist() == want
        np.testing.assert_allclose(got.distance[1:], radius[1:], rtol=1e-9, atol=1e-30)


@pytest.mark.parametrize("name", ["structured", "grid", "constant", "tight clusters"])
def test_the_plain_window_of_small_pools_picks_the_same(name: str) -> None:
    x = make(name)
    labeled, unlabeled = split(len(x), 5)
    assert k_center(x, labeled, unlabeled, 80).indices.tolist() == textbook(x, labeled, unlabeled, 80)[0]


@pytest.mark.parametrize("name", ["structured", "binary", "constant"])
def test_the_whole_pool_can_be_picked(name: str, windowed: None) -> None:
    x = make(name)[:300]
    got = k_center(x, NONE, np.arange(300), 300)
    assert got.indices.tolist() == textbook(x, NONE, np.arange(300), 300)[0]
    assert got.cover_radius == 0


def same(a: KCenterPicks, b: KCenterPicks) -> bool:
    return (
        np.array_equal(a.indices, b.indices)
        and np.array_equal(a.distance, b.distance)
        and np.array_equal(a.nearest, b.nearest)
        and a.cover_radius == b.cover_radius
    )


def test_storage_blocks_and_shards_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windowed: None
) -> None:
    x = structured(5000, 160).astype(np.float16)
    labeled, unlabeled = split(5000, 30)
    one = k_center(x, labeled, unlabeled, 200)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert same(one, k_center(mapped, labeled, unlabeled, 200))
    assert same(one, k_center(ShardedRows([x[:1700], x[1700:1701], x[1701:]]), labeled, unlabeled, 200))
    for n_shards, block_bytes in itertools.product((1, 2, 5), (2**15, 2**18)):
        monkeypatch.setattr(kcenter_shard, "BLOCK_BYTES", block_bytes)
        assert same(one, k_center(x.astype(np.float32), labeled, unlabeled, 200, n_shards=n_shards))


def test_more_shards_than_rows_are_no_matter() -> None:
    x = isotropic(5, 3)
    assert same(k_center(x, NONE, np.arange(5), 4), k_center(x, NONE, np.arange(5), 4, n_shards=9))


def test_the_low_dimensional_bound_never_exceeds_the_distance() -> None:
    r = np.random.default_rng(0)
    x = np.vstack([r.normal(size=(500, 64)) @ r.normal(size=(64, 200)), r.normal(size=(500, 200))]).astype(np.float32)
    frame = kcenter_frame.fit_frame(x, np.arange(1000), 1000)
    assert frame.basis is not None
    placed = frame.place(x)
    n = (placed**2).sum(axis=1)
    sketch = frame.sketch(placed, n).astype(np.float64)
    bound = ((sketch[:, None] - sketch[None]) ** 2).sum(axis=2)
    true = ((placed[:, None].astype(np.float64) - placed[None]) ** 2).sum(axis=2)
    assert np.all(bound <= true + kcenter_bounds.SLACK * (3 * n[:, None] + 2 * true))
    assert np.mean(bound > 0.5 * true) > 0.5  # and is worth having


def test_permuting_the_pool_permutes_the_picks() -> None:
    x = structured(5000, 160)
    order = np.random.default_rng(3).permutation(5000)
    a = k_center(x, NONE, np.arange(5000), 100)
    b = k_center(x[order], NONE, np.arange(5000), 100)
    assert a.indices.tolist() == order[b.indices].tolist()


def test_nearest_names_the_closest_earlier_centre() -> None:
    x = isotropic(500, 5).astype(np.float64)
    labeled, unlabeled = split(500, 7)
    got = k_center(x, labeled, unlabeled, 40)
    seen = list(labeled)
    for pick, near, distance in zip(got.indices, got.nearest, got.distance, strict=True):
        gaps = np.linalg.norm(x[seen] - x[pick], axis=1)
        assert near == seen[int(gaps.argmin())]
        assert distance == pytest.approx(gaps.min(), rel=1e-9)
        seen.append(pick)
    rest = np.setdiff1d(unlabeled, got.indices)
    left = np.min([np.linalg.norm(x[rest] - x[c], axis=1) for c in seen], axis=0).max()
    assert got.cover_radius == pytest.approx(left, rel=1e-9)


def test_the_cover_radius_is_at_most_twice_the_optimum() -> None:
    x = np.random.default_rng(0).normal(size=(14, 2))
    best = min(
        np.min([np.linalg.norm(x - x[c], axis=1) for c in chosen], axis=0).max()
        for chosen in itertools.combinations(range(14), 4)
    )
    assert best <= k_center(x, NONE, np.arange(14), 4).cover_radius <= 2 * best


def test_a_row_too_long_for_float32_is_named() -> None:
    x = np.ones((5000, 3))
    x[4000] = 1e25
    with pytest.raises(InputError, match="row 4000"):
        k_center(x, NONE, np.arange(5000), 3)


def test_foremost_takes_the_lowest_positions_among_equals() -> None:
    upper = np.array([1.0, 3.0, 2.0, 3.0, 2.0, 2.0])
    kept, rest, at = foremost(upper, 3)
    assert (kept.tolist(), rest, at) == ([1, 2, 3], 2.0, 4)
    kept, rest, at = foremost(upper, 5)
    assert (kept.tolist(), rest, at) == ([1, 2, 3, 4, 5], 1.0, 0)
    kept, rest, at = foremost(upper, 6)
    assert (len(kept), rest, at) == (6, -np.inf, -1)


def test_merging_keeps_the_lowest_index_of_what_stays_behind() -> None:
    def part(rest: float, rest_id: int) -> Candidates:
        return Candidates(NONE, np.empty((0, 2)), np.empty(0), np.empty(0), np.empty(0), rest, rest_id)

    joined = merge([part(2.0, 9), part(2.0, 4), part(1.0, 0)])
    assert (joined.rest, joined.rest_id) == (2.0, 4)


def gemv_loop(
    x: np.ndarray, labeled: np.ndarray, unlabeled: np.ndarray, batch_size: int
) -> tuple[list[int], np.ndarray]:
    """The usual float32 loop with cached row norms."""
    rows = x[unlabeled]
    n = np.einsum("ij,ij->i", rows, rows)
    gap = np.full(len(rows), np.inf, dtype=np.float32)
    for centre in x[labeled]:
        np.minimum(gap, n + centre @ centre - 2 * (rows @ centre), out=gap)
    batch, radius = [], []
    for _ in range(batch_size):
        pos = int(gap.argmax())
        batch.append(int(unlabeled[pos]))
        radius.append(gap[pos])
        np.minimum(gap, n + n[pos] - 2 * (rows @ rows[pos]), out=gap)
        gap[pos] = 0
    return batch, np.sqrt(radius)


@pytest.mark.scale
@pytest.mark.parametrize("kind", [structured, isotropic])
def test_fifty_thousand_rows_agree_with_the_gemv_loop(kind: object) -> None:
    x = kind(50_000, 512)  # type: ignore[operator]
    labeled, unlabeled = split(50_000, 100)
    got = k_center(x, labeled, unlabeled, 1000)
    want, radius = gemv_loop(x, labeled, unlabeled, 1000)
    assert len(set(want) & set(got.indices.tolist())) >= 995
    np.testing.assert_allclose(got.distance, radius, rtol=1e-5)


@pytest.mark.scale
@pytest.mark.parametrize(("data", "times"), [("structured", 15), ("isotropic", 10)])
def test_fifty_thousand_rows_are_much_faster_than_the_gemv_loop(data: str, times: int) -> None:
    """1000 picks against the time that the loop takes for each further pick; in a process with one thread."""
    record = in_child("case", f"kcenter-50k-loop-{data}", "--repeats", "3")
    assert record["status"] == "ok", record["text"]
    assert record["ratio"] >= times


SLOPE_RUN = """
import sys, time, numpy as np
from benchmarks.speed.generators import structured
from poolwise.kernels.kcenter import k_center
x = structured(200_000, 512)
for n, b in [(2000, 20), *{sizes}]:
    seconds = []
    for _ in range(2):
        start = time.process_time()
        k_center(x, np.arange(100), np.arange(100, n), b)
        seconds.append(time.process_time() - start)
    if n > 2000:
        print(min(seconds))
"""


def child(code: str, threads: int = 1) -> list[str]:
    root = Path(__file__).resolve().parents[2]
    environment = {
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "PYTHONPATH": f"{root}/src:{root}",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def slope(sizes: list[int], seconds: list[str]) -> float:
    return float(np.polyfit(np.log(sizes), np.log([float(s) for s in seconds]), 1)[0])


@pytest.mark.scale
def test_time_grows_about_linearly_with_the_pool() -> None:
    sizes = [10_000, 20_000, 50_000, 100_000, 200_000]
    assert slope(sizes, child(SLOPE_RUN.format(sizes=[(n, 1000) for n in sizes]))) <= 1.2


@pytest.mark.scale
def test_time_grows_less_than_quadratically_with_the_batch() -> None:
    batches = [500, 1000, 2000, 4000]
    assert slope(batches, child(SLOPE_RUN.format(sizes=[(50_000, b) for b in batches]))) <= 1.7


THREAD_RUN = """
import numpy as np
from benchmarks.speed.generators import structured
from poolwise.kernels.kcenter import k_center
got = k_center(structured(30_000, 512), np.arange(50), np.arange(50, 30_000), 500)
print(*got.indices)
"""


@pytest.mark.scale
def test_threads_do_not_change_the_picks() -> None:
    assert child(THREAD_RUN, 1) == child(THREAD_RUN, 2) == child(THREAD_RUN, 4)


MEMORY_RUN = """
import sys, threading, time, numpy as np
from poolwise.kernels.kcenter import k_center

def anonymous_mb():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024

x = np.load(sys.argv[1] if len(sys.argv) > 1 else {path!r}, mmap_mode="r")
k_center(x[:2000], np.arange(10), np.arange(10, 2000), 20)
base, peak, running = anonymous_mb(), 0.0, True

def watch():
    global peak
    while running:
        peak = max(peak, anonymous_mb())
        time.sleep(0.002)

thread = threading.Thread(target=watch)
thread.start()
k_center(x, np.arange(100), np.arange(100, len(x)), {batch})
running = False
thread.join()
print(peak - base)
"""


@pytest.mark.scale
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux process status")
def test_memory_stays_within_its_budget_and_grows_with_rows_only_by_the_state(tmp_path: Path) -> None:
    grown = {}
    for n in (50_000, 200_000):
        out = np.lib.format.open_memmap(tmp_path / f"{n}.npy", mode="w+", dtype=np.float16, shape=(n, 512))
        structured(n, 512, out=out)
        grown[n] = float(child(MEMORY_RUN.format(path=str(tmp_path / f"{n}.npy"), batch=1000))[0])
    assert grown[50_000] <= 150  # MB, the budget for N = 50k, D = 512, B = 1000
    state = 150_000 * (24 + 4 * 65) / 2**20  # intervals, lengths and sketch of the rows in between
    active = 150_000 / 50 * 512 * 4 / 2**20
    assert grown[200_000] - grown[50_000] <= 1.5 * (state + active)


@pytest.mark.parametrize("n_shards", [1, 3])
def test_a_cold_start_takes_the_one_centre_of_a_small_pool_and_the_row_nearest_the_mean_of_a_large_one(
    n_shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.vstack([np.random.default_rng(0).normal(size=(300, 4)), np.full((1, 4), 30.0)])  # one far row
    distance = np.linalg.norm(x[:, None] - x[None], axis=2)
    one_centre = int(distance.max(axis=1).argmin())
    nearest_mean = int(np.linalg.norm(x - x.mean(axis=0), axis=1).argmin())
    assert one_centre != nearest_mean
    items = np.arange(len(x))
    nothing = np.empty(0, dtype=np.int64)
    assert k_center(x, nothing, items, 5, first="center", n_shards=n_shards).indices[0] == one_centre
    monkeypatch.setattr(kcenter, "ONE_CENTRE_ROWS", len(x) - 1)
    assert k_center(x, nothing, items, 5, first="center", n_shards=n_shards).indices[0] == nearest_mean
