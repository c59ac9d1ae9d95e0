"""The plain transcriptions agree with each other."""

from __future__ import annotations

import numpy as np
from benchmarks.peers import textbook


def test_displacements_to_boundaries_are_as_long_as_the_distances() -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(50, 7)), rng.normal(size=(9, 7)), rng.normal(size=9)
    plain = textbook.boundary_distances(x, weight, bias)
    for at_once in (1, 16, 50):
        built = textbook.boundary_displacements(x, weight, bias, at_once)
        np.testing.assert_allclose(built, plain, rtol=1e-12)
