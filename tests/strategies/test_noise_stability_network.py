"""Facts particular to measured noise stability; the contract every strategy obeys is in test_contract.py."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.kernels.deviations import SampledMovements, draw_noise


def farthest_first(vectors: np.ndarray, count: int, taken: tuple[int, ...] = ()) -> list[int]:
    chosen: list[int] = []
    for _ in range(count):
        gaps = [
            min([float(v @ v), *(float((v - vectors[j]) @ (v - vectors[j])) for j in (*taken, *chosen))])
            for v in vectors
        ]
        chosen.append(int(np.argmax([-1.0 if i in (*taken, *chosen) else gap for i, gap in enumerate(gaps)])))
    return chosen


@pytest.mark.parametrize("seed", range(3))
def test_picks_like_farthest_first_from_the_origin(seed: int) -> None:
    d = np.random.default_rng(seed).normal(size=(50, 6, 3))
    got = pw.select("noise_stability_network", noise_deviations=d, batch_size=20)
    assert got.indices.tolist() == farthest_first(d.reshape(50, -1), 20)
    assert got.scores is not None and np.all(np.diff(got.scores) <= 0)
    assert got.components["movement"][0] == pytest.approx(np.linalg.norm(d[got.indices[0]]) / np.sqrt(6))


def test_labeled_items_count_as_taken_only_on_request() -> None:
    d = np.random.default_rng(5).normal(size=(30, 4, 2))
    plain = pw.select("noise_stability_network", noise_deviations=d, labeled=[3, 8], batch_size=10)
    given = pw.select(
        "noise_stability_network", noise_deviations=d, labeled=[3, 8], batch_size=10, condition_on_labeled=True
    )
    assert given.indices.tolist() == farthest_first(d.reshape(30, -1), 10, (3, 8))
    free = np.setdiff1d(np.arange(30), [3, 8])
    assert plain.indices.tolist() == free[farthest_first(d[free].reshape(28, -1), 10)].tolist()


def test_agrees_with_noise_on_the_last_layer() -> None:
    """The movements of a linear head, measured, are those the strategy `noise_stability` samples."""
    rng = np.random.default_rng(0)
    h, weight = rng.normal(size=(40, 5)), rng.normal(size=(3, 5))
    z = np.exp(h @ weight.T)
    noise = draw_noise(weight, 1e-3, 7, rng)
    moved = SampledMovements(h, z / z.sum(axis=1, keepdims=True), np.arange(40), noise).take(np.arange(40)).x
    d = moved.reshape(40, 7, 3) * np.sqrt(7) / 1e-3
    got = pw.select("noise_stability_network", noise_deviations=d, batch_size=15).indices
    assert got.tolist() == farthest_first(moved, 15)


def test_items_that_do_not_move_come_last_by_pool_index() -> None:
    d = np.zeros((9, 2, 2))
    d[4] = 1
    got = pw.select("noise_stability_network", noise_deviations=d, batch_size=4)
    assert got.indices.tolist() == [4, 0, 1, 2]
