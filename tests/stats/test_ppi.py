"""Prediction-powered means: unbiased, honest, narrower where the guesses know something."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.errors import ShapeError
from poolwise.stats.ppi import ppi_mean


def population(rng, n=20_000):
    """Outcomes 0/1 and guesses that know a part of them, both of the whole population."""
    guess = rng.beta(2, 1, size=n)
    return (rng.random(n) < guess).astype(float), 0.1 + 0.7 * guess


def test_coverage_bias_and_width_by_simulation():
    rng = np.random.default_rng(0)
    y, f = population(rng)
    hits, means, widths = [], [], []
    for _ in range(1500):
        pick = rng.permutation(len(y))[:200]
        found = ppi_mean(y[pick], f[pick], f)
        hits.append(found.low <= y.mean() <= found.high)
        means.append(found.mean)
        widths.append(found.high - found.low)
    assert 0.93 <= np.mean(hits) <= 0.97
    assert abs(np.mean(means) - y.mean()) < 4 * np.std(means) / np.sqrt(1500)
    plain = 2 * 1.96 * np.sqrt(y.var() / 200)
    assert np.mean(widths) < 0.92 * plain


def test_useless_guesses_leave_the_plain_mean():
    y = np.array([1.0, 0, 1, 1, 0, 1])
    found = ppi_mean(y, np.full(6, 0.4), np.full(100, 0.4))
    assert found.mean == pytest.approx(y.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * np.sqrt(y.var(ddof=1) / 6), rel=1e-6)


def test_the_formula_by_hand():
    """n = 2, N = 4: cov = 0.25 * 2, var f = 0.125 * 2 ... written out."""
    y, f, big = np.array([0.0, 1.0]), np.array([0.25, 0.75]), np.array([0.25, 0.75, 0.5, 0.9])
    weight = 0.25 / (1.5 * 0.125)
    mean = weight * 0.6 + ((0 - weight * 0.25) + (1 - weight * 0.75)) / 2
    assert ppi_mean(y, f, big).mean == pytest.approx(mean)


@pytest.mark.parametrize("wrong", [([1], [1], [1]), ([1, 0], [1], [1]), ([1, 0], [1, 0], [])])
def test_numbers_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ShapeError):
        ppi_mean(*wrong)


def test_bounds_are_the_interval_of_agresti_and_coull_where_the_guesses_say_nothing():
    """Two wrong of 150, z = 1.96: 150 + z^2 outcomes with z^2 / 2 more wrong ones."""
    right = np.ones(150)
    right[:2] = 0
    found = ppi_mean(right, np.full(150, 0.9), np.full(1000, 0.9), bounds=(0, 1))
    z2 = 1.959964**2
    share = (148 + z2 / 2) / (150 + z2)
    half = np.sqrt(z2 * share * (1 - share) / (150 + z2))
    assert found.mean == pytest.approx(148 / 150)
    assert (found.low, found.high) == pytest.approx((share - half, min(1, share + half)))


def test_bounds_mend_the_coverage_where_nearly_all_are_right():
    rng = np.random.default_rng(0)
    hits = {None: 0, (0, 1): 0}
    for _ in range(1500):
        right = (rng.random(100) < 0.98).astype(float)
        for bounds in hits:
            found = ppi_mean(right, np.full(100, 0.5), np.full(10, 0.5), bounds=bounds)
            hits[bounds] += found.low <= 0.98 <= found.high
    assert hits[None] / 1500 < 0.92
    assert hits[0, 1] / 1500 >= 0.94


def test_all_right_is_no_proof_of_perfection():
    found = ppi_mean(np.ones(50), np.linspace(0.5, 1, 50), np.linspace(0.5, 1, 500), bounds=(0, 1))
    assert found.mean == found.high == 1
    assert 0.9 < found.low < 0.95
