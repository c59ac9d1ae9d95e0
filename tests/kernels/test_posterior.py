"""Facts about the Gaussian posterior of the last layer."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import ArrayMissingError, OptionError, ShapeError
from poolwise.kernels.posterior import SampledProbs, fit_posterior

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)) + 5
W, BIAS = RNG.normal(size=(4, 3)), RNG.normal(size=4)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_full_curvature_is_the_hessian_of_the_log_loss() -> None:
    found = fit_posterior(X, W, BIAS, curvature="full", precision=2.0)
    h = found.inputs(X)

    def loss(theta: np.ndarray) -> float:
        z = h @ theta.reshape(4, 4).T
        return float(np.log(np.exp(z).sum(axis=1)).sum())  # labels enter linearly, so not into the curvature

    inner = np.hstack([W * found.scale, (BIAS + W @ found.mean)[:, None]]).ravel()
    step, hessian = 1e-3, np.empty((16, 16))
    for i in range(16):
        for j in range(16):
            a, b = np.eye(16)[i] * step, np.eye(16)[j] * step
            hessian[i, j] = loss(inner + a + b) - loss(inner + a - b) - loss(inner - a + b) + loss(inner - a - b)
    hessian /= 4 * step**2
    np.testing.assert_allclose(np.linalg.inv(found.covariance), hessian + 2 * np.eye(16), atol=1e-3)


def test_shared_and_class_covariances_invert_the_sums_they_name() -> None:
    p = softmax(X @ W.T + BIAS)
    shared = fit_posterior(X, W, BIAS, precision=0.5)
    h = shared.inputs(X)
    top = p.max(axis=1)
    a = sum(t * (1 - t) * np.outer(r, r) for t, r in zip(top, h, strict=True)) + 0.5 * np.eye(4)
    np.testing.assert_allclose(shared.covariance, np.linalg.inv(a), atol=1e-10)
    np.testing.assert_allclose(shared.variances(X)[7], np.full(4, h[7] @ np.linalg.inv(a) @ h[7]))
    each = fit_posterior(X, W, BIAS, curvature="class", precision=0.5)
    a2 = sum(q * (1 - q) * np.outer(r, r) for q, r in zip(p[:, 2], h, strict=True)) + 0.5 * np.eye(4)
    np.testing.assert_allclose(each.covariance[2], np.linalg.inv(a2), atol=1e-10)
    assert each.variances(X)[7, 2] == pytest.approx(h[7] @ np.linalg.inv(a2) @ h[7])


@pytest.mark.parametrize("curvature", ["shared", "class", "full"])
def test_drawn_logits_have_the_variance_that_is_said(curvature: str) -> None:
    found = fit_posterior(X, W, BIAS, curvature=curvature, precision=1.0)
    weights, biases = found.samples(4000, np.random.default_rng(1))
    z = np.einsum("nd,scd->nsc", X[:5], weights) + biases
    np.testing.assert_allclose(z.std(axis=1), np.sqrt(found.variances(X[:5])), rtol=0.08)
    np.testing.assert_allclose(z.mean(axis=1), X[:5] @ W.T + BIAS, atol=0.15)


def test_an_infinite_prior_changes_nothing_and_a_row_seen_again_gets_surer() -> None:
    strict = fit_posterior(X, W, BIAS, precision=1e12)
    np.testing.assert_allclose(strict.mean_field(X), softmax(X @ W.T + BIAS), atol=1e-5)
    once = fit_posterior(X, W, BIAS, precision=1.0)
    twice = fit_posterior(np.vstack([X, X]), W, BIAS, precision=1.0)
    assert (twice.variances(X) < once.variances(X)).all()
    calmer = once.mean_field(X).max(axis=1)
    assert (calmer <= softmax(X @ W.T + BIAS).max(axis=1) + 1e-9).all()


def test_evidence_equals_the_gaussian_integral() -> None:
    found = fit_posterior(X, W, BIAS, curvature="full")
    inner = W * found.scale
    squares = ((inner - inner.mean(axis=0)) ** 2).sum()
    precision = np.linalg.inv(fit_posterior(X, W, BIAS, curvature="full", precision=1.0).covariance) - np.eye(16)
    for t, value in found.evidence.items():
        volume = np.linalg.slogdet(precision + t * np.eye(16))[1]
        assert value == pytest.approx(0.5 * (16 * np.log(t) - t * squares - volume), rel=1e-6, abs=1e-6)
    assert found.precision == max(found.evidence, key=lambda t: found.evidence[t])


def test_sampled_rows_are_computed_when_read_and_share_their_heads() -> None:
    found = fit_posterior(X, W, BIAS)
    weights, biases = found.samples(6, np.random.default_rng(2))
    rows = SampledProbs(X, weights, biases)
    assert rows.shape == (40, 6, 4)
    for i in (3, 11):
        expected = [softmax(weights[s] @ X[i] + biases[s]) for s in range(6)]
        np.testing.assert_allclose(rows[np.array([i])][0], expected, atol=1e-9)


def test_select_samples_the_head_where_labels_are_known() -> None:
    given = {"embeddings": X, "head_weight": W, "head_bias": BIAS, "batch_size": 5}
    labels = np.where(np.arange(40) < 12, np.arange(40) % 4, -1)
    for name in ("bald", "epig", "batchbald", "mean_std"):
        batch = pw.select(name, labels=labels, **given)
        assert len(set(batch.indices.tolist())) == 5
    with pytest.raises(ArrayMissingError, match="prob_samples"):
        pw.select("bald", **given)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="head_weight"):
        fit_posterior(X, W[:, :2], BIAS)
    with pytest.raises(OptionError, match="precision must be above 0"):
        fit_posterior(X, W, BIAS, precision=0.0)
    with pytest.raises(OptionError, match="curvature='class' needs"):
        fit_posterior(RNG.normal(size=(2, 900)), RNG.normal(size=(200, 900)), None, curvature="class")
    assert np.isfinite(fit_posterior(np.empty((0, 3)), W, BIAS).covariance).all()
    assert np.isfinite(fit_posterior(np.ones((4, 3)), W, BIAS).mean_field(np.ones((2, 3)))).all()
