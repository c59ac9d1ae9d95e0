"""Distances stay right where the usual formula cancels."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.kernels.distances import UnitRows, min_sq_distance, sq_distances


def direct(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Differences in float64, all at once."""
    return ((a[:, None].astype(np.float64) - b.astype(np.float64)) ** 2).sum(axis=2)


@pytest.mark.parametrize("offset", [0, 100, 10_000])
def test_an_offset_costs_no_precision(offset: float) -> None:
    r = np.random.default_rng(0)
    a = (r.normal(size=(60, 20)) + offset).astype(np.float32)
    b = (r.normal(size=(30, 20)) + offset).astype(np.float32)
    np.testing.assert_allclose(sq_distances(a, b), direct(a, b), rtol=2e-5)


def test_equal_rows_are_at_distance_zero_and_close_rows_are_not() -> None:
    a = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    d = sq_distances(a, a)
    assert np.all(np.diag(d) == 0)
    b = a + np.float32(1e-3)
    np.testing.assert_allclose(np.diag(sq_distances(a, b)), np.diag(direct(a, b)), rtol=1e-4)


def test_the_nearest_of_many_centres_is_found_by_blocks() -> None:
    r = np.random.default_rng(0)
    x, c = r.normal(size=(3000, 8)).astype(np.float16), r.normal(size=(700, 8)).astype(np.float32)
    want = direct(x, c).min(axis=1)
    np.testing.assert_allclose(min_sq_distance(x, None, c), want, rtol=1e-4, atol=1e-6)
    some = np.array([5, 7, 2999])
    np.testing.assert_allclose(min_sq_distance(x, some, c), want[some], rtol=1e-4, atol=1e-6)


def test_without_centres_everything_is_infinitely_far() -> None:
    assert np.isinf(min_sq_distance(np.ones((3, 2)), None, np.empty((0, 2), dtype=np.float32))).all()


def test_unit_rows_survive_extreme_lengths_and_keep_zero_rows() -> None:
    x = np.array([[3.0, 4.0], [3e-200, 4e-200], [3e200, 4e200], [0.0, 0.0]])
    got = UnitRows(x).read(slice(0, 4), np.float64)
    np.testing.assert_allclose(got[:3], [[0.6, 0.8]] * 3, rtol=1e-14)
    assert got[3].tolist() == [0.0, 0.0]
