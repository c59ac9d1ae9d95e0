"""MASE against the distances to every boundary, written out."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.kernels.sides import Sides


@pytest.mark.parametrize(("n", "count"), [(5, 2), (900, 40), (6000, 50), (6000, 5999)])
def test_picks_and_components_are_those_of_the_distances_to_every_boundary(n: int, count: int) -> None:
    rng = np.random.default_rng([n, count])
    x, weight, bias = rng.standard_normal((n, 20)), rng.standard_normal((9, 20)), rng.standard_normal(9)
    z = x.astype(np.float32).astype(np.float64) @ weight.T + bias
    top = z.argmax(axis=1)
    distance = np.full((n, 9), np.inf)
    for i in range(n):
        for k in set(range(9)) - {top[i]}:
            distance[i, k] = (z[i, top[i]] - z[i, k]) / np.linalg.norm(weight[top[i]] - weight[k])
    expected = np.argsort(distance.min(axis=1), kind="stable")[:count]
    batch = pw.select(
        "mase", embeddings=x.astype(np.float32), head_weight=weight, head_bias=bias, batch_size=count, seed=0
    )
    assert np.array_equal(batch.indices, expected)
    assert np.allclose(batch.components["distance"], distance.min(axis=1)[expected], rtol=1e-9)
    assert np.array_equal(batch.components["predicted"], top[expected])
    assert np.array_equal(batch.components["rival"], distance.argmin(axis=1)[expected])


def test_each_row_of_float64_logits_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((6000, 8)).astype(np.float32), rng.standard_normal((4, 8))
    computed: list[int] = []
    known = Sides.nearness

    def counting(self: Sides, indices: np.ndarray) -> np.ndarray:
        computed.extend(indices.tolist())
        return known(self, indices)

    monkeypatch.setattr(Sides, "nearness", counting)
    batch = pw.select("mase", embeddings=x, head_weight=weight, batch_size=60)
    assert len(computed) == len(set(computed)) < 200
    assert set(batch.indices.tolist()) <= set(computed)
