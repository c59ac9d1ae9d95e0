"""The 1-centre: the row with the smallest distance to the row farthest from it."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.kernels.onecenter import one_center


def brute_force(x: np.ndarray, items: np.ndarray) -> int:
    """All distances by plain differences."""
    y = x[items].astype(np.float64)
    farthest = np.sqrt(((y[:, None] - y[None]) ** 2).sum(axis=2)).max(axis=1)
    return int(items[np.flatnonzero(farthest <= farthest.min() * (1 + 1e-12))[0]])


MAKERS = {
    "normal": lambda r, n: r.normal(size=(n, 5)),
    "high": lambda r, n: r.normal(size=(n, 60)),
    "offset": lambda r, n: r.normal(size=(n, 4)) + 100,
    "grid": lambda r, n: r.integers(0, 4, size=(n, 2)).astype(np.float64),
    "line": lambda r, n: r.integers(0, 50, size=(n, 1)).astype(np.float32),
    "copies": lambda r, n: r.normal(size=(n, 3))[r.integers(0, n, n)],
    "constant": lambda r, n: np.ones((n, 3)),
    "float16": lambda r, n: (60000 * r.uniform(-1, 1, size=(n, 3))).astype(np.float16),
    "huge": lambda r, n: (1e30 * r.normal(size=(n, 3))).astype(np.float32),
    "outlier": lambda r, n: np.vstack([r.normal(size=(n - 1, 3)), [[1e4, 0, 0]]]),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", MAKERS)
def test_it_is_the_one_that_all_distances_give(name: str, seed: int) -> None:
    r = np.random.default_rng(seed)
    n = [1, 2, 90, 400][seed]
    x = MAKERS[name](r, n)
    items = np.arange(n) if seed % 2 else np.sort(r.permutation(n)[: (n + 1) // 2])
    assert one_center(x, items) == brute_force(x, items)
