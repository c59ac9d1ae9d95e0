"""Rows of any storage come out as the same contiguous blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from poolwise.errors import InputError, ShapeError
from poolwise.kernels import blocks
from poolwise.kernels.blocks import (
    LinearLogits,
    LogProbs,
    ShardedRows,
    Softmax,
    as_key,
    as_rows,
    block_rows_for,
    check_block,
    iter_blocks,
    load_rows,
    read_rows,
)

X = np.arange(60, dtype=np.float32).reshape(20, 3)


@pytest.mark.parametrize("cuts", [[], [0], [5], [5, 5, 9], [1, 19], [20]])
def test_sharded_rows_read_like_one_array(cuts: list[int]) -> None:
    rows = ShardedRows(np.split(X, cuts))
    assert rows.shape == X.shape and len(rows) == 20
    for key in (slice(0, 20), slice(4, 6), slice(5, 5), slice(19, 20), slice(2, 18, 3), slice(25, 30)):
        assert np.array_equal(rows[key], X[key])
    for key in ([], [19, 0, 5, 5], list(range(20))):
        index = np.array(key, dtype=np.int64)
        assert np.array_equal(rows[index], X[index])


def test_sharded_rows_of_different_width_are_refused() -> None:
    with pytest.raises(ShapeError, match="part 1"):
        ShardedRows([X, X[:, :2]])
    with pytest.raises(InputError, match="at least one part"):
        ShardedRows([])


@pytest.mark.parametrize("block_rows", [1, 7, 20, 100])
def test_blocks_cover_every_row_once_in_order(block_rows: int) -> None:
    parts = list(iter_blocks(X, block_rows=block_rows))
    assert [start for start, _ in parts] == list(range(0, 20, block_rows))
    assert np.array_equal(np.concatenate([block for _, block in parts]), X)
    chosen = np.array([3, 4, 5, 11, 2])
    picked = np.concatenate([block for _, block in iter_blocks(X, chosen, block_rows=block_rows)])
    assert np.array_equal(picked, X[chosen])


def test_blocks_that_are_kept_do_not_change_when_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers are used again only when nobody holds them, also when they are filled by the reading thread."""
    monkeypatch.setattr(blocks, "PREFETCH_BYTES", 0)
    half = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float16)
    kept = [block for _, block in iter_blocks(half, block_rows=13)]
    assert np.array_equal(np.concatenate(kept), half.astype(np.float32))
    views = [block[1:, ::2] for _, block in iter_blocks(half, block_rows=13)]
    expected = [half[i : i + 13].astype(np.float32)[1:, ::2] for i in range(0, 500, 13)]
    assert all(np.array_equal(a, b) for a, b in zip(views, expected, strict=True))


def test_an_error_in_the_reading_thread_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        shape, dtype = (100, 2), np.dtype(np.float32)

        def __len__(self) -> int:
            return 100

        def __getitem__(self, key: slice) -> np.ndarray:
            if key.start >= 50:
                raise OSError("disk is gone")
            return np.zeros((key.stop - key.start, 2), dtype=np.float32)

    monkeypatch.setattr(blocks, "PREFETCH_BYTES", 0)
    with pytest.raises(OSError, match="disk is gone"):
        list(iter_blocks(Broken(), block_rows=10))


def test_memory_maps_are_gathered_in_any_order(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X.astype(np.float16))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    index = np.array([19, 0, 7, 7, 3])
    got = load_rows(mapped, index)
    assert got.dtype == np.float32 and got.flags.c_contiguous
    assert np.array_equal(got, X[index])


def test_logits_and_probabilities_are_computed_as_they_are_read() -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(30, 4)), rng.normal(size=(5, 4)), rng.normal(size=5)
    z = x @ weight.T + bias
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    logits = LinearLogits(x, weight, bias)
    key = np.array([4, 29, 0])
    np.testing.assert_allclose(read_rows(logits, key, np.float64), z[key], rtol=1e-13)
    np.testing.assert_allclose(logits[2:9], z[2:9], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(read_rows(Softmax(logits), slice(0, 30), np.float64), p, rtol=1e-12)
    np.testing.assert_allclose(load_rows(Softmax(LogProbs(p)), dtype=np.float64), p, rtol=1e-12)
    given = z.copy()
    read_rows(Softmax(given), slice(0, 30), np.float64)
    assert np.array_equal(given, z), "reading probabilities changed the logits"


def test_a_zero_probability_has_a_finite_logarithm() -> None:
    assert read_rows(LogProbs(np.array([[0.0, 1.0]])), slice(0, 1), np.float64)[0, 0] == pytest.approx(np.log(1e-30))


def test_consecutive_indices_become_a_slice() -> None:
    assert as_key(np.array([3, 4, 5])) == slice(3, 6)
    for other in ([3, 5, 4], [3, 5], [5, 4, 3], [3, 4, 4, 6], []):
        assert isinstance(as_key(np.array(other, dtype=np.int64)), np.ndarray)


def test_the_width_of_what_logits_come_from_counts_for_the_block_size() -> None:
    wide = LinearLogits(np.zeros((1000, 4096), dtype=np.float32), np.zeros((2, 4096)))
    assert block_rows_for(wide, 2**24) == 2**24 // (4 * 4096)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named(value: float) -> None:
    block = np.full((9, 4), 1e30, dtype=np.float32)  # squares overflow, which is no fault
    check_block("embeddings", block, range(100, 109))
    block[6, 2] = value
    with pytest.raises(InputError, match="embeddings row 106 holds NaN or inf"):
        check_block("embeddings", block, range(100, 109))


def test_a_row_that_is_no_distribution_is_named() -> None:
    block = np.full((5, 3, 4), 0.25, dtype=np.float32)
    check_block("prob_samples", block, range(5), probabilities=True)
    block[3, 1] = [0.5, 0.5, 0.5, 0]
    with pytest.raises(InputError, match=r"prob_samples row 3 sums to 1\.5"):
        check_block("prob_samples", block, range(5), probabilities=True)
    block[3, 1] = [1.2, -0.2, 0, 0]
    with pytest.raises(InputError, match=r"row 3 .* smallest value -0\.2"):
        check_block("prob_samples", block, range(5), probabilities=True)


def test_lists_are_arrays_and_words_are_not() -> None:
    assert as_rows([[1, 2], [3, 4]], "embeddings").shape == (2, 2)
    with pytest.raises(InputError, match="embeddings"):
        as_rows(["a", "b"], "embeddings")
    with pytest.raises(InputError, match="not numbers"):
        as_rows(np.array([["a", 1]], dtype=object), "embeddings")
