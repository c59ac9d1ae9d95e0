"""Facts about paired comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from poolwise.errors import InputError, ShapeError, UnknownNameError
from poolwise.stats.paired import compare_to_baseline, holm, paired_p, win_tie_loss


def test_holm_by_hand():
    # sorted 0.01 0.02 0.03 0.04 times 4 3 2 1 = 0.04 0.06 0.06 0.04, made increasing
    np.testing.assert_allclose(holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.6, 0.9, 0.001]), [1.0, 1.0, 0.003])
    assert holm([]).shape == (0,)


def test_holm_keeps_the_error_of_the_family():
    rng = np.random.default_rng(0)
    false_claims = np.mean([holm(rng.random(8)).min() < 0.05 for _ in range(4000)])
    assert 0.035 < false_claims < 0.062


def test_p_equals_the_paired_t_test_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=10), rng.normal(size=10) + 0.5
    assert paired_p(a - b) == pytest.approx(stats.ttest_rel(a, b).pvalue)


def test_p_of_degenerate_differences():
    assert paired_p([0.0, 0.0, 0.0]) == 1
    assert paired_p([0.3]) == 1
    assert paired_p([0.1, 0.1, 0.1]) == 0


def test_pairing_finds_a_small_steady_gain_that_unpaired_spread_would_hide():
    rng = np.random.default_rng(0)
    base = rng.normal(0.7, 0.05, 10)
    gain = base + 0.01 + rng.normal(0, 0.003, 10)
    (got,) = compare_to_baseline({"random": base, "new": gain}, "random")
    assert got.verdict() == "better"
    assert got.difference.low > 0
    assert stats.ttest_ind(gain, base).pvalue > 0.3


def test_comparison_counts_and_corrects():
    base = np.zeros(10)
    up = np.full(10, 0.1) + np.arange(10) * 1e-3
    mixed = np.array([1, -1] * 5) * 0.1
    got = {c.name: c for c in compare_to_baseline({"up": up, "base": base, "mixed": mixed, "down": -up}, "base")}
    assert list(got) == ["up", "mixed", "down"]
    assert (got["up"].wins, got["up"].ties, got["up"].losses) == (10, 0, 0)
    assert got["down"].verdict() == "worse"
    assert got["mixed"].verdict() == "unclear"
    assert got["up"].p_holm == pytest.approx(3 * got["up"].p)


def test_win_tie_loss_has_a_tolerance():
    assert win_tie_loss([0.2, 0.05, -0.05, -0.2, -0.3], tolerance=0.1) == (1, 2, 2)


def test_results_that_are_not_paired_are_refused():
    with pytest.raises(ShapeError, match="every seed"):
        compare_to_baseline({"a": [1, 2], "b": [1]}, "a")
    with pytest.raises(UnknownNameError, match="random"):
        compare_to_baseline({"random": [1, 2]}, "randon")


def test_nothing_is_claimed_while_the_interval_holds_zero() -> None:
    values = {"random": [0.0] * 6, "a": [0.01, 0.02, 0.03, 0.01, 0.02, 0.005]}
    for level in (0.9, 0.95, 0.9999):
        (found,) = compare_to_baseline(values, "random", level=level)
        assert found.p_holm < 0.05
        assert (found.verdict() == "better") == found.difference.excludes(0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_result_that_is_not_finite_is_named(bad: float) -> None:
    with pytest.raises(InputError, match="position 1 holds"):
        compare_to_baseline({"random": [0.5, 0.6], "a": [0.5, bad]}, "random")
