"""Balls as lists and as bits answer alike, and as plain distances do."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise.kernels.balls as balls
from poolwise.kernels.balls import bit_balls, edge_balls, within


def rows_of(kind: str, n: int) -> np.ndarray:
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, 3))
    return {
        "plain": x,
        "far": x + 100,
        "grid": np.round(x),  # distances of exactly the radius
        "copies": x[rng.integers(0, min(20, n), n)],
        "constant": np.ones((n, 3)),
        "half": x.astype(np.float16),
    }[kind].astype(np.float32)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 200, 600])
@pytest.mark.parametrize("kind", ["plain", "far", "grid", "copies", "constant", "half"])
def test_every_question_is_answered_as_by_all_distances(kind: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balls, "PAIRS", 1600)  # several blocks, the last one no multiple of 8
    x = rows_of(kind, n)
    wide = x.astype(np.float64)
    inside = ((wide[:, None] - wide[None]) ** 2).sum(axis=2) <= 1.0
    items, targets = np.arange(n), np.arange(0, n, 3)
    some = np.arange(0, len(targets), 2)
    lists, bits = edge_balls(x, items, 1.0), bit_balls(x, items, targets, 1.0)
    np.testing.assert_array_equal(lists.sizes(), inside.sum(axis=1))
    np.testing.assert_array_equal(bits.sizes(), inside[:, targets].sum(axis=1))
    np.testing.assert_array_equal(lists.count(some), inside[:, some].sum(axis=1))
    np.testing.assert_array_equal(bits.count(some), inside[:, targets[some]].sum(axis=1))
    for row in {0, n // 2, n - 1}:
        np.testing.assert_array_equal(lists.of(row), np.flatnonzero(inside[row]))
        np.testing.assert_array_equal(bits.of(row), np.flatnonzero(inside[row, targets]))
    np.testing.assert_array_equal(within(x, x[targets], 1.0), inside[:, targets])


def test_a_byte_of_ones_does_not_overflow() -> None:
    x = np.zeros((1000, 2), dtype=np.float32)
    found = bit_balls(x, np.arange(1000), np.arange(1000), 0.5)
    assert (found.count(np.arange(700)) == 700).all()
