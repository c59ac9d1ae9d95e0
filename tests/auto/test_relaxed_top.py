"""Relaxed top b: gates sum to b, harden to top b, and have exact derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.auto.relaxed_top import pull_back, relaxed_top


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01, 1e-4])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_gates_are_probabilities_that_sum_to_the_count(temperature: float, scale: float) -> None:
    scores = scale * np.random.default_rng(0).normal(size=500)
    for count in (1, 20, 499):
        gates = relaxed_top(scores, count, temperature)
        assert gates.min() >= 0 and gates.max() <= 1
        assert gates.sum() == pytest.approx(count, rel=1e-6)


def test_cold_gates_are_the_hard_top() -> None:
    scores = np.random.default_rng(1).permutation(100).astype(float)
    assert np.flatnonzero(relaxed_top(scores, 20, 1e-3).round(9)).tolist() == sorted(np.argsort(-scores)[:20].tolist())
    assert relaxed_top(scores, 100, 0.1).tolist() == [1.0] * 100


def test_a_higher_score_never_lowers_its_own_gate() -> None:
    scores = np.random.default_rng(2).normal(size=50)
    before = relaxed_top(scores, 10, 0.1)
    for j in range(50):
        raised = scores.copy()
        raised[j] += 0.3
        assert relaxed_top(raised, 10, 0.1)[j] >= before[j]


def test_rows_may_be_in_any_order() -> None:
    rng = np.random.default_rng(3)
    scores, order = rng.normal(size=80), rng.permutation(80)
    np.testing.assert_allclose(relaxed_top(scores, 15, 0.05)[order], relaxed_top(scores[order], 15, 0.05), rtol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_derivative_equals_central_differences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, value = rng.normal(size=30), rng.normal(size=30)
    got = pull_back(relaxed_top(scores, 7, 0.3), value, 0.3)
    step = 1e-5
    for j in range(30):
        up, down = scores.copy(), scores.copy()
        up[j] += step
        down[j] -= step
        slope = (value @ relaxed_top(up, 7, 0.3) - value @ relaxed_top(down, 7, 0.3)) / (2 * step)
        assert got[j] == pytest.approx(slope, rel=1e-5, abs=1e-9)
