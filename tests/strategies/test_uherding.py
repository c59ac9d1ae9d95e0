"""Facts particular to Uncertainty Herding."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.strategies.uherding import _reference, smallest_distance, uncertainty_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 6))
P = RNG.dirichlet(np.ones(4), size=300)


def test_without_labels_it_is_maxherding() -> None:
    assert (
        pw.select("uherding", embeddings=X, probs=P, batch_size=20).indices.tolist()
        == pw.select("maxherding", embeddings=X, batch_size=20).indices.tolist()
    )


def test_with_tiny_balls_it_takes_the_most_uncertain_items() -> None:
    batch = pw.select("uherding", embeddings=X, probs=P, labeled=[0, 1], batch_size=12, sigma=1e-3)
    top = np.sort(P, axis=1)
    doubt = 1 - (top[:, -1] - top[:, -2])
    doubt[:2] = -1
    assert batch.indices.tolist() == np.argsort(-doubt)[:12].tolist()
    np.testing.assert_allclose(batch.components["uncertainty"], doubt[batch.indices], rtol=1e-5)


def test_certain_items_are_worth_nothing() -> None:
    p = P.copy()
    p[50:] = [1, 0, 0, 0]
    batch = pw.select("uherding", embeddings=X, probs=p, labeled=[60, 61], batch_size=10, sigma=0.01)
    assert (batch.indices < 50).all()


def test_width_is_the_smallest_labeled_distance_and_ignores_duplicates() -> None:
    x = np.array([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0], [3.0, 4.5]], dtype=np.float32)
    assert smallest_distance(x, np.arange(4)) == pytest.approx(0.5)
    assert smallest_distance(x, np.array([0, 1])) == 1.0
    assert smallest_distance(x, np.array([2])) == 1.0


def test_uncertainty_lies_between_0_and_1_and_grows_with_temperature() -> None:
    for kind in ("margin", "confidence", "entropy"):
        values = uncertainty_of(P, kind, 1.0)
        assert values.min() >= 0 and values.max() <= 1
        assert uncertainty_of(P, kind, 3.0).mean() > values.mean()
        assert uncertainty_of(np.array([[1.0, 0.0]]), kind, 2.0)[0] == pytest.approx(0, abs=1e-6)


def test_a_weighted_reference_sample_estimates_the_mean_over_all() -> None:
    doubt, value = RNG.random(500) ** 4, RNG.normal(size=500) + 2
    estimates = []
    for seed in range(400):
        at, weights = _reference(doubt, 60, np.random.default_rng(seed))
        estimates.append((weights * value[at]).sum())
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - (doubt * value).mean()) < 4 * error
    at, weights = _reference(doubt, 500, np.random.default_rng(0))
    np.testing.assert_allclose(weights, doubt / 500)
    for some in (doubt, np.zeros(500), np.where(np.arange(500) == 3, 1.0, 0.0)):
        weights = _reference(some, 60, np.random.default_rng(1))[1]
        assert np.isfinite(weights).all() and (weights >= 0).all()
