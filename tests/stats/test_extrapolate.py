"""Power-law curves: recovered where they are exact, like a slow fit where they are noisy, bounded always."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from poolwise.errors import ShapeError
from poolwise.stats.extrapolate import RATES, fit_power

N = np.array([40.0, 80.0, 160.0, 320.0, 640.0])


def slow_fit(n, values, weights):
    """Bounded least squares by scipy for each exponent of the grid."""
    best = (np.inf, None)
    for c in RATES:
        w = np.sqrt(weights / weights.sum())
        found = lsq_linear(np.stack([w, -w * n**-c], axis=1), w * values, bounds=([-np.inf, 0], [1, np.inf]), tol=1e-14)
        if 2 * found.cost < best[0] - 1e-13:
            best = (2 * found.cost, (found.x[0], found.x[1], c))
    return best


def test_an_exact_power_law_is_found_again_and_extrapolated():
    a, b, c = 0.9, 2.0, RATES[12]
    values = a - b * N**-c
    found = fit_power(N, values[None], np.ones(5))
    assert found.at(2000)[0] == pytest.approx(a - b * 2000**-c, abs=1e-9)
    assert found.labels_to(a - b * 1500**-c)[0] == pytest.approx(1500, rel=1e-6)
    assert np.isinf(found.labels_to(0.95)[0])


@pytest.mark.parametrize("seed", range(8))
def test_noisy_curves_are_fitted_like_by_a_general_solver(seed):
    rng = np.random.default_rng(seed)
    values = 0.97 - 1.5 * N**-0.5 + rng.normal(0, 0.03, 5)
    error, _ = slow_fit(N, values, N)
    found = fit_power(N, values[None], N)
    mine = ((values - found.at(N[:, None]).ravel()) ** 2 * N / N.sum()).sum()
    assert mine == pytest.approx(error, rel=1e-4, abs=1e-9)


def test_curves_never_fall_nor_pass_one():
    rng = np.random.default_rng(0)
    found = fit_power(N, rng.random((200, 5)), np.ones(5))
    assert (found.a <= 1).all()
    assert (found.b >= 0).all()
    assert (found.at(5000.0) >= found.at(50.0) - 1e-12).all()


def test_a_flat_curve_needs_no_labels_or_infinitely_many():
    found = fit_power(N, np.full((1, 5), 0.7), np.ones(5))
    assert np.isinf(found.labels_to(0.8)[0])
    assert found.labels_to(0.6)[0] < 1
    assert found.labels_to(0.7)[0] == 0


def test_shapes_are_checked():
    with pytest.raises(ShapeError):
        fit_power(N, np.ones(5), np.ones(5))
