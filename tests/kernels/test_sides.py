"""Sides of the nearest boundary are those of the distances, however they are asked for."""

from __future__ import annotations

import numpy as np

from poolwise.kernels.blocks import LinearLogits
from poolwise.kernels.scores import Boundaries
from poolwise.kernels.sides import Sides


def test_sides_of_rows_that_did_not_come_up_are_computed_when_asked_for() -> None:
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((40, 5)), rng.standard_normal((6, 5))
    sides = Sides(Boundaries(weight), LinearLogits(x, weight))
    sides.nearness(np.array([3, 30]))
    asked = np.array([30, 7, 3, 12])
    _, predicted, rival = Boundaries(weight).distances(x[asked] @ weight.T)
    found = sides.of(asked)
    assert np.array_equal(found[0], predicted)
    assert np.array_equal(found[1], rival)
    assert [len(part) for part in sides.of(asked[:0])] == [0, 0]
