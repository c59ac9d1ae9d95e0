"""Facts about solving several penalised multinomial problems at once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from poolwise.train import multinomial
from poolwise.train.multinomial import principal, solve


def problem(n_rows=60, width=4, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n_rows) % n_classes
    return principal(rng.normal(size=(n_rows, width)) + y[:, None]), y


def plain_solution(rows, y, n_classes, weights, strength):
    """The same minimum by a general minimiser without gradients: least loss."""

    def loss(flat):
        w = flat.reshape(rows.shape[1] + 1, n_classes)
        z = rows @ w[:-1] + w[-1]
        return -(weights * log_softmax(z, axis=1)[np.arange(len(y)), y]).sum() + strength / 2 * (w[:-1] ** 2).sum()

    found = minimize(loss, np.zeros((rows.shape[1] + 1) * n_classes), method="BFGS", options={"gtol": 1e-4})
    return loss, found.fun


@pytest.mark.parametrize("strength", [0.1, 3.0])
def test_reaches_the_least_loss_with_row_weights(strength):
    basis, y = problem()
    weights = np.random.default_rng(1).uniform(0.2, 2, len(y)).astype(np.float32)
    head = solve(basis, y, 3, weights[:, None], np.array([strength]), tolerance=1e-8)[0]
    loss, least = plain_solution(basis.rows.astype(np.float64), y, 3, weights, strength)
    assert loss(head.astype(np.float64).ravel()) == pytest.approx(least, rel=1e-4)


def test_problems_solved_together_equal_problems_solved_alone(monkeypatch):
    basis, y = problem()
    weights = np.random.default_rng(1).integers(0, 2, (len(y), 5)).astype(np.float32)
    strengths = np.array([0.01, 0.1, 1, 10, 0.3])
    together = solve(basis, y, 3, weights, strengths, tolerance=1e-8)
    for p in range(5):
        alone = solve(basis, y, 3, weights[:, p : p + 1], strengths[p : p + 1], tolerance=1e-8)[0]
        np.testing.assert_allclose(together[p], alone, atol=0.01)
    monkeypatch.setattr(multinomial, "ELEMENTS", 2 * len(y) * 3)  # groups of two
    np.testing.assert_allclose(solve(basis, y, 3, weights, strengths, tolerance=1e-8), together, atol=0.01)


def test_rows_of_weight_0_do_not_count():
    basis, y = problem()
    weights = (np.arange(len(y)) < 40).astype(np.float32)[:, None]
    other = y.copy()
    other[40:] = (other[40:] + 1) % 3
    heads = [solve(basis, labels, 3, weights, np.array([0.5]), tolerance=1e-6) for labels in (y, other)]
    assert np.array_equal(*heads)


def test_a_class_without_rows_in_one_problem_gets_zeros_there_only():
    basis, y = problem()
    weights = np.stack([y != 2, np.ones(len(y))], axis=1).astype(np.float32)
    heads = solve(basis, y, 3, weights, np.array([1.0, 1.0]), tolerance=1e-6)
    assert not heads[0, :, 2].any()
    assert heads[1, :, 2].any()
    assert np.isfinite(heads).all()


@pytest.mark.parametrize("shape", [(10, 40), (40, 10), (5, 5)])
def test_principal_axes_keep_all_distances_and_their_scale(shape):
    x = np.random.default_rng(0).normal(size=shape) * 7 + 100
    basis = principal(x)
    gaps = np.linalg.norm(x[:, None] - x[None], axis=2) / basis.scale
    np.testing.assert_allclose(np.linalg.norm(basis.rows[:, None] - basis.rows[None], axis=2), gaps, atol=1e-4)
    assert basis.energy.sum() == pytest.approx(len(x))
    np.testing.assert_allclose(basis.axes.T @ basis.axes, np.eye(basis.axes.shape[1]), atol=1e-9)


def test_constant_and_repeated_columns_cost_no_axes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2))[:, [0, 1, 1, 0]]
    x = np.concatenate([x, np.full((30, 3), 5.0)], axis=1)
    assert principal(x).rows.shape == (30, 2)
    assert principal(np.full((4, 3), 1e6)).rows.shape == (4, 0)
