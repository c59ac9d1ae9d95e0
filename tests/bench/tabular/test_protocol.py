"""The split of the published runs, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.bench.tabular.loader import TabularSet
from poolwise.bench.tabular.protocol import SeedSkippedError, make_cell, split

from .conftest import blobs


def test_split_shuffles_all_rows_then_the_train_part_with_a_fresh_generator_of_the_same_seed() -> None:
    idx = np.arange(106)
    np.random.default_rng(7).shuffle(idx)
    want_train, want_test = idx[:63].tolist(), idx[63:].tolist()
    order = np.arange(63)
    np.random.default_rng(7).shuffle(order)  # the same generator state permutes positions the same way
    train, test = split(106, 7)
    assert train.tolist() == [want_train[i] for i in order]
    assert test.tolist() == want_test


@pytest.mark.parametrize(("n", "queries"), [(106, 43), (208, 104), (351, 190), (766, 439), (7400, 4420), (11055, 6613)])
def test_sizes_equal_the_published_numbers_of_queries(n: int, queries: int) -> None:
    assert len(split(n, 0)[0]) - 20 == queries


def test_scaling_uses_all_train_rows_and_only_them() -> None:
    data = blobs(100, 4)
    data.x[:, 2] = 5.0  # a constant feature
    cell = make_cell(data, 3)
    raw = data.x[cell.train]
    scale = np.where(raw.std(axis=0) > 0, raw.std(axis=0), 1.0)
    assert np.allclose(cell.x_train, (raw - raw.mean(axis=0)) / scale, atol=1e-12)
    assert np.allclose(cell.x_test, (data.x[cell.test] - raw.mean(axis=0)) / scale, atol=1e-12)
    assert np.isfinite(cell.x_train).all()


def test_a_seed_whose_initial_set_misses_a_class_is_skipped() -> None:
    data = TabularSet("rare", np.arange(100.0)[:, None], (np.arange(100) == 0).astype(np.int64), ("a", "b"))
    with pytest.raises(SeedSkippedError, match="seed skipped"):
        make_cell(data, 0)


def test_a_set_that_leaves_nothing_to_query_is_skipped() -> None:
    with pytest.raises(SeedSkippedError, match="leave nothing to query"):
        make_cell(blobs(33), 0)
