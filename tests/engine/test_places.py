"""Arrays are opened elsewhere by path, whatever part of which file they show."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.engine.places import INLINE_BYTES, describe, file_of, reopen, spill_to
from poolwise.engine.wire import pack, unpack
from poolwise.errors import EngineError
from poolwise.kernels.blocks import LinearLogits, ShardedRows, Softmax
from poolwise.kernels.posterior import fit_posterior
from poolwise.store.arrays import PoolArrays, open_rows


def never(name, rows):
    raise AssertionError(f"{name} was written again")


def there_and_back(arrays, spill=never):
    return reopen(unpack(pack(describe(arrays, spill))))


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(50_000, 8)).astype(np.float16)


def test_a_memory_map_and_its_slices_are_described_by_path_alone(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    rows = np.load(tmp_path / "x.npy", mmap_mode="r")
    for part in (rows, rows[123:40_000], np.asarray(rows)[777:][5:], rows[10:20][3:]):
        got = there_and_back({"embeddings": part})["embeddings"]
        assert got.dtype == part.dtype and np.array_equal(got, part)
        assert len(pack(describe({"embeddings": part}, never))) < 2000


def test_columns_of_a_file_are_no_part_of_it(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    rows = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert file_of(rows[:, 2:4]) is None
    assert file_of(rows[[1, 5]]) is None  # a copy
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    got = there_and_back({"embeddings": rows[::2]}, spill_to(scratch))["embeddings"]
    assert np.array_equal(got, x[::2]) and len(list(scratch.iterdir())) <= 1


def test_what_open_rows_returns_is_described_by_path(tmp_path, x):
    np.savez(tmp_path / "x.npz", x=x)
    PoolArrays(tmp_path / "arrays").write("embeddings@1", x, part_rows=9_000)
    for rows in (open_rows(tmp_path / "x.npz"), open_rows(tmp_path / "arrays" / "embeddings@1")):
        got = there_and_back({"embeddings": rows})["embeddings"]
        assert np.array_equal(got[slice(0, None)], x)


def test_computed_rows_share_the_array_they_come_from(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    rows = np.load(tmp_path / "x.npy", mmap_mode="r")
    logits = LinearLogits(rows, np.ones((3, 8), dtype=np.float32))
    got = there_and_back({"embeddings": rows, "probs": Softmax(logits), "labels": None})
    assert got["probs"].logits.embeddings is got["embeddings"] and got["labels"] is None
    assert np.array_equal(got["probs"][slice(5, 9)], Softmax(logits)[slice(5, 9)])


def test_probabilities_under_drawn_heads_are_not_written_out(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    rows = np.load(tmp_path / "x.npy", mmap_mode="r")
    heads = fit_posterior(x[:50], np.ones((3, 8)), np.zeros(3)).prob_samples(rows, 4, np.random.default_rng(0))
    got = there_and_back({"embeddings": rows, "prob_samples": heads})
    assert got["prob_samples"].embeddings is got["embeddings"] and got["prob_samples"].shape == (50_000, 4, 3)
    assert np.array_equal(got["prob_samples"][slice(5, 99)], heads[slice(5, 99)])


def test_small_arrays_travel_and_large_ones_in_memory_are_spilled(tmp_path, x):
    small = np.arange(INLINE_BYTES // 8)
    assert np.array_equal(there_and_back({"costs": small})["costs"], small)
    big = np.asfortranarray(np.random.default_rng(0).normal(size=(INLINE_BYTES // 8, 2)))
    got = there_and_back({"embeddings": big}, spill_to(tmp_path))["embeddings"]
    assert isinstance(got, np.memmap) and np.array_equal(got, big)
    parts = ShardedRows([big[:3], big[3:]])
    assert np.array_equal(there_and_back({"embeddings": parts}, spill_to(tmp_path))["embeddings"][slice(0, 9)], big[:9])


def test_a_file_that_is_not_there_is_named(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    said = describe({"embeddings": np.load(tmp_path / "x.npy", mmap_mode="r")}, never)
    (tmp_path / "x.npy").rename(tmp_path / "y.npy")
    with pytest.raises(EngineError, match=r"cannot open .*x\.npy.*disk that all machines mount"):
        reopen(said)
