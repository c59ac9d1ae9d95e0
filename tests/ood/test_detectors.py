"""Detectors against their formulas, written plainly."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.errors import OptionError
from poolwise.kernels.gaussians import fit_gaussians, shrinkage
from poolwise.registry import DETECTORS

N, D = 40, 3
ITEMS = np.arange(20, 40)
LABELED = np.arange(20)


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.where(np.arange(N) < 20, np.arange(N) % 3, -1)
    return rng.normal(size=(N, D)) + 2 * np.eye(3)[labels % 3], labels


def covariance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pooled, maximum likelihood, with 1e-6 of the mean variance on the diagonal."""
    out = np.zeros((D, D))
    for row, c in zip(x, y, strict=True):
        gap = row - x[y == c].mean(axis=0)
        out += np.outer(gap, gap) / len(x)
    return out + 1e-6 * np.trace(out) / D * np.eye(D)


def sq_mahalanobis(x: np.ndarray, mean: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    return np.array([(row - mean) @ np.linalg.solve(sigma, row - mean) for row in x])


def test_mahalanobis_is_the_distance_to_the_nearest_class() -> None:
    x, labels = data()
    known, y = x[:20], labels[:20]
    sigma = covariance(known, y)
    expected = np.min([sq_mahalanobis(x[20:], known[y == c].mean(axis=0), sigma) for c in range(3)], axis=0) / D
    got = DETECTORS["mahalanobis"].function(x, labels, LABELED, ITEMS)
    assert got == pytest.approx(expected, rel=1e-8)
    whole = sq_mahalanobis(x[20:], known.mean(axis=0), covariance(known, np.zeros(20)))
    relative = DETECTORS["relative_mahalanobis"].function(x, labels, LABELED, ITEMS)
    assert relative == pytest.approx(expected - whole / D, rel=1e-8)


def test_few_labels_without_noise_in_their_lengths_still_have_an_invertible_covariance() -> None:
    """Two opposite rows: the covariance has rank one, and Ledoit and Wolf's share is 0."""
    x = np.array([[1.0, 2.0, 0.0], [-1.0, -2.0, 0.0]])
    assert shrinkage(x, x.T @ x / 2) == 0
    assert np.isfinite(fit_gaussians(x, np.zeros(2, dtype=np.int64)).sq_distances(x)).all()


def test_few_labels_shrink_the_covariance_as_ledoit_and_wolf_say() -> None:
    from sklearn.covariance import ledoit_wolf

    rng = np.random.default_rng(0)
    residuals = rng.normal(size=(12, 8))
    _, share = ledoit_wolf(residuals, assume_centered=True)
    assert shrinkage(residuals, residuals.T @ residuals / 12) == pytest.approx(share)
    model = fit_gaussians(residuals, np.zeros(12, dtype=np.int64))
    centred = residuals - residuals.mean(axis=0)
    sigma, _ = ledoit_wolf(centred, assume_centered=True)
    expected = [row @ np.linalg.solve(sigma, row) for row in centred]
    assert model.sq_distances(residuals)[:, 0] == pytest.approx(expected, rel=1e-9)


def test_a_class_with_one_label_adds_nothing_to_the_covariance() -> None:
    x, _ = data()
    y = np.r_[np.zeros(19, dtype=np.int64), 1]
    with_it, without = fit_gaussians(x[:20], y), fit_gaussians(x[:19], y[:19])
    ratio = with_it.sq_distances(x[:19])[:, 0] / without.sq_distances(x[:19])[:, 0]
    assert ratio == pytest.approx(20 / 19)


def test_energy_is_minus_log_sum_exp() -> None:
    z = np.random.default_rng(0).normal(size=(N, 4)) * 5
    for t in (1.0, 2.5):
        got = DETECTORS["energy"].function(z, ITEMS, temperature=t)
        assert got == pytest.approx(-t * np.log(np.exp(z[20:] / t).sum(axis=1)))
    with pytest.raises(OptionError, match="temperature"):
        DETECTORS["energy"].function(z, ITEMS, temperature=0.0)
    assert DETECTORS["max_logit"].function(z, ITEMS) == pytest.approx(-z[20:].max(axis=1))


def test_large_logits_do_not_overflow() -> None:
    z = np.full((4, 3), 1e4)
    assert DETECTORS["energy"].function(z, np.arange(4)) == pytest.approx(-1e4 - np.log(3))


@pytest.mark.parametrize("k", [1, 3, 50])
def test_neighbours_are_those_of_all_pairs(k: int) -> None:
    x, labels = data()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    d = np.linalg.norm(unit[20:, None] - unit[None, :20], axis=2)
    got = DETECTORS["knn"].function(x, labels, LABELED, ITEMS, k=k)
    assert got == pytest.approx(np.sort(d, axis=1)[:, min(k, 20) - 1])
    rejected = np.isin(np.arange(N), [20, 21])
    both = DETECTORS["knn"].function(x, labels, LABELED, ITEMS[2:], rejected, k=1)
    other = np.linalg.norm(unit[22:, None] - unit[None, 20:22], axis=2).min(axis=1)
    assert both == pytest.approx(d[2:].min(axis=1) - other)


def test_class_cosine_is_that_to_the_nearest_mean() -> None:
    x, labels = data()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    means = [unit[:20][labels[:20] == c].mean(axis=0) for c in range(3)]
    expected = [1 - max(float(row @ m) / np.linalg.norm(m) for m in means) for row in unit[20:]]
    assert DETECTORS["class_cosine"].function(x, labels, LABELED, ITEMS) == pytest.approx(expected)


def test_answers_are_the_log_odds_of_a_linear_discriminant() -> None:
    x, labels = data()
    rejected = np.isin(np.arange(N), np.arange(20, 30))
    group = np.r_[labels[:20], np.full(10, 3)]
    sigma = covariance(x[:30], group)
    d = [sq_mahalanobis(x[30:], x[:30][group == g].mean(axis=0), sigma) for g in range(4)]
    got = DETECTORS["answers"].function(x, labels, LABELED, np.arange(30, 40), rejected)
    assert got == pytest.approx((np.min(d[:3], axis=0) - d[3]) / 2, rel=1e-8)


def test_rejected_items_teach_what_distance_alone_cannot_tell() -> None:
    """Foreign items between the classes: nearer to all labeled ones than these are to each other."""
    rng = np.random.default_rng(0)
    centres = np.array([[-3.0, 0, 0], [3.0, 0, 0], [0, 0, 0]])
    truth = np.arange(90) % 3
    x = centres[truth] + 0.7 * rng.normal(size=(90, 3))
    labels = np.where((truth < 2) & (np.arange(90) < 60), truth, -1)
    rejected = (truth == 2) & (np.arange(90) < 60)
    got = DETECTORS["answers"].function(x, labels, np.flatnonzero(labels >= 0), np.arange(60, 90), rejected)
    assert got[truth[60:] == 2].min() > got[truth[60:] < 2].max()
