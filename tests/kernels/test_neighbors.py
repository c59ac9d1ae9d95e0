"""Neighbours and graphs equal brute force; no row is dropped at the end of a block."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.errors import InputError
from poolwise.kernels import neighbors
from poolwise.kernels.neighbors import knn, mean_neighbor_distance_within, radius_graph

RNG = np.random.default_rng(0)


def brute_sq(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    return np.array([((x - row) ** 2).sum(axis=1) for row in x])


@pytest.mark.parametrize("n", [64, 65, 127, 129, 300])
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_exact_neighbours_equal_brute_force(n: int, offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "QUERY_ROWS", 64)
    x = (RNG.normal(size=(n, 5)) + offset).astype(np.float32)
    sq = brute_sq(x)
    np.fill_diagonal(sq, np.inf)
    found = knn(x, np.arange(n), 7, np.random.default_rng(0))
    expected = np.sort(sq, axis=1)[:, :7]
    np.testing.assert_allclose(found.sq_distances, expected, rtol=2e-4)
    np.testing.assert_allclose(np.take_along_axis(sq, found.positions.astype(int), axis=1), expected, rtol=1e-6)
    assert found.recall == 1.0


def test_duplicates_are_neighbours_at_distance_zero() -> None:
    x = np.repeat(RNG.normal(size=(10, 4)), 5, axis=0).astype(np.float32)
    found = knn(x, np.arange(50), 4, np.random.default_rng(0))
    assert (found.sq_distances == 0).all()
    assert (found.positions // 5 == np.arange(50)[:, None] // 5).all()
    assert (found.positions != np.arange(50)[:, None]).all()


def test_more_neighbours_than_a_block_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "QUERY_ROWS", 16)
    x = RNG.normal(size=(50, 3)).astype(np.float32)
    found = knn(x, np.arange(50), 49, np.random.default_rng(0))
    assert (np.sort(found.positions, axis=1) == [np.delete(np.arange(50), i) for i in range(50)]).all()


def test_cells_find_nearly_all_neighbours_and_say_how_many() -> None:
    centres = 5 * RNG.normal(size=(30, 16))
    x = (centres[RNG.integers(30, size=4000)] + RNG.normal(size=(4000, 16))).astype(np.float32)
    exact = knn(x, np.arange(4000), 10, np.random.default_rng(0), method="exact")
    cells = knn(x, np.arange(4000), 10, np.random.default_rng(0), method="cells")
    found = np.mean([np.isin(a, b).mean() for a, b in zip(exact.positions, cells.positions, strict=True)])
    assert found > 0.93
    assert abs(found - cells.recall) < 0.02
    assert (cells.positions != np.arange(4000)[:, None]).all()


def test_a_search_that_misses_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "SKETCH", 1)
    monkeypatch.setattr(neighbors, "RERANKED", 1)
    x = RNG.normal(size=(2000, 32)).astype(np.float32)
    with pytest.raises(InputError, match="method='exact'"):
        knn(x, np.arange(2000), 10, np.random.default_rng(0), method="cells")


def test_impossible_numbers_of_neighbours_are_refused() -> None:
    x = RNG.normal(size=(5, 2)).astype(np.float32)
    for k in (0, 5):
        with pytest.raises(InputError, match="between 1 and 4"):
            knn(x, np.arange(5), k, np.random.default_rng(0))


@pytest.mark.parametrize("n", [63, 64, 65, 200])
def test_radius_graph_equals_brute_force(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "QUERY_ROWS", 64)
    x = RNG.integers(0, 6, size=(n, 3)).astype(np.float32)  # many distances equal the radius exactly
    starts, targets = radius_graph(x, np.arange(n), 2.0)
    inside = brute_sq(x) <= 4.0
    assert starts.tolist() == [0, *np.cumsum(inside.sum(axis=1)).tolist()]
    assert targets.tolist() == np.nonzero(inside)[1].tolist()


def test_radius_graph_refuses_too_many_edges() -> None:
    with pytest.raises(InputError, match="smaller radius"):
        radius_graph(np.zeros((50, 2), dtype=np.float32), np.arange(50), 1.0, max_edges=100)


def test_mean_distance_inside_groups_leaves_the_row_itself_out() -> None:
    x = RNG.normal(size=(90, 4)).astype(np.float32)
    groups = RNG.integers(0, 4, size=90)
    groups[5] = 9  # alone
    got = mean_neighbor_distance_within(x, np.arange(90), groups, 6)
    for i in range(90):
        mates = np.flatnonzero((groups == groups[i]) & (np.arange(90) != i))
        distances = np.sort(np.linalg.norm(x[mates] - x[i], axis=1))
        count = max(1, min(6, (len(mates) + 1) // 2))
        assert got[i] == (pytest.approx(distances[:count].mean(), rel=1e-5) if len(mates) else np.inf)
