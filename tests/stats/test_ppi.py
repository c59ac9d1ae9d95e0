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
