"""Facts particular to DCoM."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.kernels.distances import UnitRows
from poolwise.strategies.dcom import RESOLUTION, _inside, _PurityProfiles

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 5))
UNIT = X / np.linalg.norm(X, axis=1, keepdims=True)
P = RNG.dirichlet(np.ones(3), size=150)
LABELED = np.array([3, 40, 77, 120])
LABELS = np.where(np.isin(np.arange(150), LABELED), np.arange(150) % 3, -1)


def slow_radius(i: int, purity: float) -> float:
    best = RESOLUTION
    for step in range(1, 23):
        radius = RESOLUTION * step
        ball = [j for j in range(150) if np.linalg.norm(UNIT[i] - UNIT[j]) <= radius]
        if np.mean([P[j].argmax() == LABELS[i] for j in ball]) >= purity:
            best = radius
    return best


@pytest.mark.parametrize("purity", [0.3, 0.4, 0.6])
def test_radii_are_the_largest_pure_ones(purity: float) -> None:
    search = _PurityProfiles(UnitRows(X), P, np.arange(150), LABELED, LABELS[LABELED], 1.1)
    np.testing.assert_allclose(search.largest(purity), [slow_radius(i, purity) for i in LABELED])


def test_covered_items_lie_in_a_ball_of_their_own_radius() -> None:
    radii = np.array([0.2, 0.9, 0.5, 0.7])
    expected = [
        any(np.linalg.norm(UNIT[j] - UNIT[i]) <= r for i, r in zip(LABELED, radii, strict=True)) for j in range(150)
    ]
    assert _inside(UnitRows(X), np.arange(150), LABELED, radii).tolist() == expected


def test_without_labels_it_is_probcover_with_the_first_radius() -> None:
    cold = pw.select("dcom", embeddings=X, probs=P, batch_size=6, first_radius=0.8)
    cover = pw.select("probcover", embeddings=X, batch_size=6, radius=0.8)
    assert cold.indices.tolist() == cover.indices.tolist()


def test_full_weight_follows_the_margin() -> None:
    batch = pw.select("dcom", embeddings=X, probs=P, labels=LABELS, batch_size=10, turning_point=-50.0)
    assert batch.notes["weight"] == pytest.approx(1.0)
    margin = pw.select("margin", probs=P, labels=LABELS, batch_size=10)
    assert batch.indices.tolist() == margin.indices.tolist()


def test_no_weight_covers_like_probcover_with_the_mean_radius() -> None:
    """Far from the turning point: what the labeled balls leave uncovered is covered greedily."""
    batch = pw.select("dcom", embeddings=X, probs=P, labels=LABELS, batch_size=6, turning_point=1.0, steepness=1e3)
    assert batch.notes["weight"] < 1e-9
    search = _PurityProfiles(UnitRows(X), P, np.arange(150), LABELED, LABELS[LABELED], 1.1)
    coverage = _inside(UnitRows(X), np.arange(150), LABELED, search.largest(0.4)).mean()
    radii = search.largest(0.4 + 0.2 * coverage)
    covered = _inside(UnitRows(X), np.arange(150), LABELED, radii)
    ball = np.linalg.norm(UNIT[:, None] - UNIT[None], axis=2) <= radii.mean()
    expected: list[int] = []
    for _ in range(6):
        gain = [-1 if i in LABELED or i in expected else int((ball[i] & ~covered).sum()) for i in range(150)]
        expected.append(int(np.argmax(gain)))
        covered = covered | ball[expected[-1]]
    assert batch.indices.tolist() == expected
