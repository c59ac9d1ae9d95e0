"""The streamed top B is the sorted top B."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from poolwise.errors import InputError
from poolwise.kernels import blocks, sampling
from poolwise.kernels.sampling import Screened, Shortlists, best_first, stream_scores, stream_top


def sorted_top(values: np.ndarray, indices: np.ndarray, count: int) -> list[int]:
    return sorted(indices.tolist(), key=lambda i: (-values[i], i))[:count]


def small_blocks(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Let few rows go the way of many."""
    monkeypatch.setattr(sampling, "SMALL", 64)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4)
    monkeypatch.setattr(blocks, "MIN_BLOCK_ROWS", rows)


@pytest.mark.parametrize("rows", [3, 50, 4096])
@pytest.mark.parametrize("count", [1, 17, 200, 399, 799, 800])
def test_equals_a_stable_sort(rows: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch, rows)
    x = np.random.default_rng(0).integers(0, 60, size=(1000, 1)).astype(np.float64)  # many ties
    indices = np.setdiff1d(np.arange(1000), np.arange(0, 1000, 5))
    got, scores = stream_top(lambda x: x[:, 0], {"x": x}, indices, count)
    assert got.tolist() == sorted_top(x[:, 0], indices, count)
    assert np.array_equal(scores, x[got, 0])


def test_differences_below_float32_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """All scores are one number in float32; the order is there only in float64."""
    small_blocks(monkeypatch, 16)
    values = 1 + 1e-10 * np.random.default_rng(0).permutation(500)
    got, _ = stream_top(lambda x: x[:, 0], {"x": values[:, None]}, np.arange(500), 20)
    assert got.tolist() == sorted_top(values, np.arange(500), 20)


def test_a_score_that_is_poor_in_float32_costs_a_pass_and_not_a_wrong_pick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32 answers are off by far more on the rows that the sample for the tolerance does not hold."""
    small_blocks(monkeypatch, 64)
    values = np.random.default_rng(1).normal(size=5000)
    sampled = np.arange(0, 5000, 5000 // 1024 + 1)
    noise = np.random.default_rng(2).normal(size=5000) * 0.05
    noise[sampled] = 0

    def score(x: np.ndarray) -> np.ndarray:
        return x[:, 0] + (x[:, 1] if x.dtype == np.float32 else 0)

    got, _ = stream_top(score, {"x": np.c_[values, noise]}, np.arange(5000), 40)
    assert got.tolist() == sorted_top(values, np.arange(5000), 40)


def test_a_constant_score_gives_the_first_rows() -> None:
    got, _ = stream_top(lambda x: x[:, 0] * 0, {"x": np.ones((9000, 1), dtype=np.float32)}, np.arange(9000), 5)
    assert got.tolist() == [0, 1, 2, 3, 4]


def test_infinite_scores_are_ordered_by_index() -> None:
    values = np.array([0, -np.inf, np.inf, np.inf, -np.inf, 1.0])

    def score(x: np.ndarray) -> np.ndarray:
        return values[x[:, 0].astype(int)]

    got, _ = stream_top(score, {"x": np.arange(6.0)[:, None]}, np.arange(6), 6)
    assert got.tolist() == [2, 3, 5, 0, 1, 4]
    got, _ = stream_top(score, {"x": np.arange(6.0)[:, None]}, np.arange(6), 2)
    assert got.tolist() == [2, 3]


def test_a_nan_score_names_the_row() -> None:
    with pytest.raises(InputError, match="score of row 7 is NaN"):
        stream_scores(lambda x: np.where(x[:, 0] == 7, np.nan, 0), {"x": np.arange(9.0)[:, None]}, np.arange(9))


def test_scores_equal_up_to_rounding_are_ordered_by_index() -> None:
    assert best_first(np.array([1.0, 1.0 + 1e-15, 2.0]), np.array([5, 9, 1]), 3).tolist() == [2, 0, 1]


@pytest.mark.parametrize("seed", range(4))
def test_short_lists_equal_sorting_each_column(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 50, size=(600, 5)) + rng.normal(size=(600, 5)) * (seed % 2)
    depths = np.array([1, 20, 0, 300, 700])
    off = rng.uniform(-1e-3, 1e-3, size=values.shape)
    lists = Shortlists(depths, np.full(5, 2e-3), lambda index, slot: values[index, slot])
    for start in range(0, 600, 37):
        rows = np.arange(start, min(start + 37, 600))
        lists.offer(rows, (values + off)[rows].astype(np.float32))
    for wanted in (depths // 2, depths):
        lists.settle(wanted)
        assert lists.trusted
        for slot in range(5):
            order = sorted(range(600), key=lambda i: (values[i, slot], i))[: wanted[slot]]
            assert lists.of(slot)[0].tolist() == order


def test_memory_does_not_follow_the_pool() -> None:
    def peak(n: int) -> int:
        x: Any = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float16)
        indices = np.arange(n)
        tracemalloc.start()
        stream_top(lambda x: x[:, 0], {"x": x}, indices, 50)
        tracemalloc.stop()
        tracemalloc.start()
        stream_top(lambda x: x[:, 0], {"x": x}, indices, 50)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(800_000) < peak(200_000) + 2**20


@pytest.mark.parametrize("rows", ["smooth", "coarse", "constant", "infinite"])
@pytest.mark.parametrize("count", [1, 37, 900])
def test_a_screened_score_gives_the_picks_of_the_plain_one(
    rows: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(9000, 1)) + 100
    if rows == "coarse":
        x = np.round(x)
    if rows == "constant":
        x[:] = 1
    if rows == "infinite":
        x[::3] = -1e30
    x = x.astype(np.float32)
    screened_out = []

    def score(x: np.ndarray) -> np.ndarray:
        return np.where(x[:, 0] == np.float32(-1e30), -np.inf, np.sin(x[:, 0])).astype(x.dtype)

    monkeypatch.setattr(sampling, "SCREEN_BYTES", 4 * 700)

    def above(floor: float, x: np.ndarray) -> np.ndarray:
        assert len(x) <= 700
        values = score(x)
        screened_out.append(np.count_nonzero(values < floor))
        return np.where(values < floor, -np.inf, values)

    pool = {1: np.arange(9000), 37: np.arange(0, 9000, 2), 900: np.delete(np.arange(9000), np.arange(5, 9000, 7))}[
        count
    ]
    want = stream_top(score, {"x": x}, pool, count)
    got = stream_top(Screened(score, above), {"x": x}, pool, count)
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], want[1])
    assert rows == "constant" or sum(screened_out) > 1000


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_a_sample_that_misleads_costs_a_pass_and_not_a_wrong_pick(offset: float) -> None:
    """Every row that the sample sees scores high, almost all others low: the guess from it lists too few."""
    n, count = 20_000, 400
    x = np.zeros((n, 1), dtype=np.float32)
    x[:: n // 1024 + 1] = 5  # the rows of the sample
    x[:, 0] += np.random.default_rng(0).random(n).astype(np.float32) + np.float32(offset)
    few = np.flatnonzero(x[:, 0] >= 5 + offset)[:700]
    x[few] -= 4.5  # fewer high scores than rows wanted are left
    passes = []

    def above(floor: float, x: np.ndarray) -> np.ndarray:
        passes.append(len(x))
        return np.where(x[:, 0] < floor, -np.inf, x[:, 0])

    got, _ = stream_top(Screened(lambda x: x[:, 0], above), {"x": x}, np.arange(n), count)
    assert got.tolist() == sorted_top(x[:, 0].astype(np.float64), np.arange(n), count)
    assert sum(passes) >= n
