"""A task small enough to run a whole benchmark in a second."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.bench.tasks import TASKS, Task, benchmark_task


def blobs(folder, *, rows: int = 200, classes: int = 4, seed: int = 0) -> Task:
    """Gaussian classes of unequal size."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, 6)) * 2
    parts = []
    for n in (rows, 300):
        y = np.minimum(rng.geometric(0.4, n) - 1, classes - 1).astype(np.int64)
        parts += [(centres[y] + rng.normal(size=(n, 6))).astype(np.float32), y]
    return Task("blobs", *parts, classes=tuple("abcdefgh"[:classes]))


if "test_blobs" not in TASKS:
    benchmark_task("test_blobs")(blobs)


@pytest.fixture
def toy_suite():
    return {
        "name": "toy",
        "seeds": 3,
        "strategies": ["random", "margin", "coreset", "balanced_random"],
        "datasets": [{"task": "test_blobs", "initial": 10, "batch_size": 10, "rounds": 3, "label": "blobs"}],
    }
