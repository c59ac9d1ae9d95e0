"""The search finds out whom to trust."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.auto.ridge import RidgeProblem, one_hot
from poolwise.auto.search import Trial, aim_at, compared, item_weights, learn, loss_and_gradient


def worth(value: np.ndarray, count: int):  # type: ignore[no-untyped-def]
    return lambda gates: (-float(gates @ value) / count, -value / count)


def graded(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    return rng.permuted(np.tile(np.linspace(0, 1, n)[:, None], (1, k)), axis=0)


def test_gradient_is_never_zero_at_the_start() -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        n, k = int(rng.integers(20, 200)), int(rng.integers(2, 9))
        trial = Trial(graded(rng, n, k), np.ones((n, 1)), max(1, n // 10), worth(rng.normal(size=n), max(1, n // 10)))
        assert np.linalg.norm(loss_and_gradient(np.zeros((1, k)), trial, 0.1)[1]) > 0


@pytest.mark.parametrize("seed", range(3))
def test_gradient_through_gates_and_ridge_head_equals_central_differences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [(rng.normal(size=(n, 4)), one_hot(rng.integers(0, 3, n), 3)) for n in (12, 15, 20)]
    trial = Trial(rng.random((15, 3)), rng.normal(size=(15, 2)), 4, RidgeProblem(*parts).loss)
    at = rng.normal(size=(2, 3))
    _, gradient = loss_and_gradient(at, trial, 0.2)
    for place in np.ndindex(2, 3):
        up, down = at.copy(), at.copy()
        up[place] += 1e-5
        down[place] -= 1e-5
        slope = (loss_and_gradient(up, trial, 0.2)[0] - loss_and_gradient(down, trial, 0.2)[0]) / 2e-5
        assert gradient[place] == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_hypergradient_agrees_with_buying_single_rows() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    x = np.hstack([2 * np.eye(3)[y] + rng.normal(size=(90, 3)), np.ones((90, 1))])
    parts = [(x[part], one_hot(y[part], 3)) for part in np.split(np.arange(90), [20, 50])]
    problem = RidgeProblem(*parts)
    nothing = np.zeros(30)
    base, gradient = problem.loss(nothing)
    gains = np.array([problem.loss(np.eye(30)[j])[0] - base for j in range(30)])
    ranks = [np.argsort(np.argsort(v)) for v in (gains, gradient)]
    assert np.corrcoef(*ranks)[0, 1] > 0.8


def test_one_informative_candidate_among_random_ones_is_trusted() -> None:
    rng = np.random.default_rng(0)
    trials = []
    for _ in range(3):
        grades, value = graded(rng, 200, 7), rng.random(200)
        grades[:, 2] = np.argsort(np.argsort(value)) / 199
        trials.append(Trial(grades, np.ones((200, 1)), 20, worth(value, 20)))
    weights = item_weights(learn(trials, 60), np.ones((1, 1)))[0]
    assert weights[2] > 0.6
    for trial in trials:
        value = -trial.objective(np.ones(200))[1]
        chosen, equal = (np.argsort(-trial.grades @ w)[:20] for w in (weights, np.ones(7)))
        assert value[chosen].mean() > value[equal].mean()


def test_weights_by_item_follow_two_regions_and_beat_global_ones() -> None:
    rng = np.random.default_rng(1)
    value, region = rng.random(400), np.arange(400) % 2
    right = np.argsort(np.argsort(value)) / 399
    grades = np.column_stack([np.where(region == 0, right, rng.random(400)), np.where(region, right, rng.random(400))])
    both = np.column_stack([np.ones(400), region - 0.5])
    found = {}
    for name, features in (("global", np.ones((400, 1))), ("items", both)):
        trial = Trial(grades, features, 40, worth(value, 40))
        weights = item_weights(learn([trial], 150), features)
        found[name] = value[np.argsort(-(grades * weights).sum(axis=1))[:40]].mean()
        if name == "items":
            assert weights[region == 0, 0].mean() > 0.7 and weights[region == 1, 1].mean() > 0.7
    every = [value[np.argsort(-(grades @ [w, 1 - w]))[:40]].mean() for w in np.linspace(0, 1, 101)]
    assert found["items"] > max(every) >= found["global"] - 1e-12


def test_among_candidates_that_know_nothing_the_choice_is_not_worse_than_chance() -> None:
    chosen = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        trials = []
        for _ in range(3):
            value = rng.random(80)
            trials.append(Trial(graded(rng, 80, 7), np.ones((80, 1)), 20, worth(value, 20)))
        weights = item_weights(learn(trials, 25), np.ones((1, 1)))[0]
        value = rng.random(200)  # of items that were not rehearsed on
        chosen.append(value[np.argsort(-graded(rng, 200, 7) @ weights)[:20]].mean())
    assert np.mean(chosen) > 0.5 - 3 * np.std(chosen, ddof=1) / np.sqrt(len(chosen))


def test_weights_are_compared_with_equal_ones_and_with_the_best_candidate() -> None:
    value = np.array([1.0, 2.0, 4.0, 8.0])
    grades = np.array([[0.9, 0.0], [0.8, 0.5], [0.0, 0.6], [0.0, 1.0]])
    trial = Trial(grades, np.ones((4, 1)), 2, aim_at(value, 2))
    # means .45 .65 .3 .5 choose values 2 and 8; weights (0.1, 0.9) choose 8 and 4; alone: 1 and 2, or 8 and 4
    found = compared([trial], [np.tile([0.1, 0.9], (4, 1))])
    assert found == {"expected_gain": 6.0, "gain_over_equal": 1.0, "gain_of_best_candidate": 1.0}
