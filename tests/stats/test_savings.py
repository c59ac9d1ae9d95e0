"""Labels saved at the accuracy that the baseline ended with."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from poolwise.errors import ShapeError
from poolwise.stats.savings import labels_saved, labels_to_reach

N = [10, 20, 30]


def test_a_curve_that_gets_there_at_twenty_saves_ten() -> None:
    found = labels_saved((N, [[0.5, 0.6, 0.7]] * 3), (N, [[0.5, 0.7, 0.8]] * 3))
    assert (found.target, found.n_baseline, found.n_strategy) == (pytest.approx(0.7), 30, pytest.approx(20))
    assert (found.saved.mean, found.saved.low, found.saved.high) == pytest.approx((10, 10, 10))
    assert found.reached_by == 3


def test_a_curve_that_never_gets_there_saves_nothing_that_could_be_named() -> None:
    found = labels_saved((N, [[0.5, 0.6, 0.7], [0.5, 0.6, 0.6]]), (N, [[0.5, 0.5, 0.5], [0.5, 0.5, 0.61]]))
    assert found.n_strategy == np.inf and found.saved.mean == -np.inf and found.reached_by == 1


def test_one_seed_gives_no_interval() -> None:
    found = labels_saved((N, [[0.5, 0.6, 0.7]]), (N, [[0.5, 0.7, 0.8]]))
    assert found.saved.mean == pytest.approx(10) and found.saved.low == -np.inf and found.saved.high == np.inf


def test_low_end_is_open_if_a_seed_decides_whether_it_is_reached() -> None:
    ours = [[0.5, 0.6, 0.75], [0.5, 0.6, 0.69], [0.5, 0.6, 0.69]]
    found = labels_saved((N, [[0.5, 0.6, 0.7]] * 3), (N, ours))
    assert np.isfinite(found.n_strategy) and found.saved.low == -np.inf and np.isfinite(found.saved.high)


def test_different_numbers_of_labels_are_interpolated() -> None:
    found = labels_saved((N, [[0.5, 0.6, 0.7]] * 2), ([10, 25], [[0.5, 0.8]] * 2))
    assert found.n_strategy == pytest.approx(20)


@pytest.mark.parametrize(("a", "b"), [((0, 3), (0, 3)), ((2, 3), (3, 3)), ((3,), (3,))])
def test_seeds_must_match(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="one row per seed"):
        labels_saved((N, np.zeros(a)), (N, np.zeros(b)))


def test_interval_is_the_jackknife_written_out() -> None:
    rng = np.random.default_rng(1)
    base = np.array([0.5, 0.6, 0.65]) + rng.normal(0, 0.01, (6, 3))
    ours = np.array([0.5, 0.66, 0.72]) + rng.normal(0, 0.01, (6, 3))

    def saved(rows: list[int]) -> float:
        b, s = base[rows].mean(0), ours[rows].mean(0)
        return 30 - float(np.interp(b[-1], s, N))  # both curves increase

    every = list(range(6))
    pseudo = [6 * saved(every) - 5 * saved([j for j in every if j != i]) for i in every]
    half = stats.t.ppf(0.975, 5) * np.std(pseudo, ddof=1) / np.sqrt(6)
    found = labels_saved((N, base), (N, ours)).saved
    assert (found.low, found.high) == pytest.approx((saved(every) - half, saved(every) + half))


def test_intervals_of_ten_seeds_miss_the_truth_about_one_time_in_twenty() -> None:
    n = np.arange(100, 1100, 100)
    base_truth, our_truth = 0.9 - 4 / np.sqrt(n), 0.9 - 4 / np.sqrt(1.3 * n)
    truth = 1000 - 1000 / 1.3
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(200):
        level = rng.normal(0, 0.01, (10, 1))  # seeds share their split
        base = base_truth + level + rng.normal(0, 0.005, (10, 10))
        ours = our_truth + level + rng.normal(0, 0.005, (10, 10))
        interval = labels_saved((n, base), (n, ours)).saved
        missed += not interval.low <= truth <= interval.high
    assert missed / 400 < 0.10


def test_labels_to_reach_are_where_the_ends_of_the_band_cross() -> None:
    curves = np.array([[0.5, 0.6, 0.7], [0.5, 0.6, 0.8], [0.5, 0.6, 0.9]])
    found = labels_to_reach(N, curves, 0.7)
    assert found.mean == pytest.approx(25)  # mean curve 0.5, 0.6, 0.8
    half = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert found.low == pytest.approx(20 + 10 * 0.1 / (0.2 + half))
    assert found.high == np.inf and 0.8 - half < 0.7


def test_targets_of_each_seed_take_out_what_the_seeds_share() -> None:
    shift = np.array([-0.05, 0.0, 0.05])[:, None]
    curves = np.array([[0.5, 0.6, 0.8]] * 3) + shift
    alone = labels_to_reach(N, curves, 0.7)
    paired = labels_to_reach(N, curves, 0.7 + shift.ravel())
    assert (paired.low, paired.mean, paired.high) == pytest.approx((25, 25, 25))
    assert alone.low < 25 < alone.high


def test_one_seed_and_curves_that_never_get_there() -> None:
    one = labels_to_reach(N, [[0.5, 0.6, 0.8]], 0.7)
    assert (one.low, one.high) == (10, np.inf) and one.mean == pytest.approx(25)
    never = labels_to_reach(N, [[0.5, 0.6, 0.6]] * 2, 0.9)
    assert never.low == never.mean == never.high == np.inf
    with pytest.raises(ShapeError, match="one per seed"):
        labels_to_reach(N, [[0.5, 0.6, 0.7]], [0.1, 0.2])
    with pytest.raises(ShapeError, match="one row per seed"):
        labels_to_reach(N, [0.5, 0.6, 0.7], 0.6)


def test_labels_to_reach_cover_the_crossing_of_the_true_curve() -> None:
    rng = np.random.default_rng(0)
    x = np.arange(10, 110, 10)
    truth = 0.9 - 1.5 / np.sqrt(x + 5)
    target = 0.7
    crossing = (1.5 / (0.9 - target)) ** 2 - 5
    missed = 0
    for _ in range(400):
        seeds = truth + 0.03 * rng.normal(size=(6, 1)) + 0.02 * rng.normal(size=(6, len(x)))
        found = labels_to_reach(x, seeds, target)
        missed += not found.low <= crossing <= found.high
    assert missed <= 0.1 * 200  # 5 %, with three standard errors
