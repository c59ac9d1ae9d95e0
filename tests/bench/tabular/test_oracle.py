"""The oracles against the enumeration of every order, on pools small enough for it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from poolwise.bench.tabular.evaluate import Evaluator
from poolwise.bench.tabular.oracle import bso_instant, cell_score, oracle_area
from poolwise.bench.tabular.simulate import simulate
from poolwise.errors import OptionError

from .conftest import blobs, cell_of


def random_game(seed: int, n: int = 5):
    """Random accuracies for every subset, and the area of every order."""
    rng = np.random.default_rng(seed)
    value = {
        subset: round(float(rng.random()), 2)
        for size in range(n + 1)
        for subset in itertools.combinations(range(n), size)
    }

    def area(order: tuple[int, ...]) -> float:
        a = [value[tuple(sorted(order[:t]))] for t in range(n + 1)]
        return sum((a[t] + a[t - 1]) / 2 for t in range(1, n + 1)) / n

    return value, area


@pytest.mark.parametrize("seed", range(8))
def test_area_oracle_of_full_width_is_the_best_of_all_orders(seed: int) -> None:
    value, area = random_game(seed)
    path = oracle_area(range(5), value.__getitem__, width=128)
    best = max(itertools.permutations(range(5)), key=area)
    assert path.area == pytest.approx(area(best), abs=1e-12)
    assert path.area == pytest.approx(area(path.order), abs=1e-12)
    ties = [order for order in itertools.permutations(range(5)) if area(order) == pytest.approx(path.area, abs=1e-12)]
    assert path.order == min(ties)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("width", [1, 2, 5])
def test_published_oracle_by_its_description(seed: int, width: int) -> None:
    value, area = random_game(seed)
    beams: list[list[int]] = [[]]
    for _ in range(5):
        grown = []
        for beam in beams:
            extensions = [[*beam, item] for item in range(5) if item not in beam]
            own = [extensions[k] for k in np.argsort([-value[tuple(sorted(p))] for p in extensions], kind="stable")]
            grown += own[:width]
        beams = [grown[k] for k in np.argsort([-value[tuple(sorted(p))] for p in grown], kind="stable")[:width]]
    got = bso_instant(range(5), value.__getitem__, width=width)
    assert list(got.order) == beams[0]
    assert got.area == pytest.approx(area(got.order))


def test_ranking_by_accuracy_can_lose_area_when_the_beam_is_widened_and_ranking_by_area_does_not() -> None:
    losses = 0
    for seed in range(30):
        value, _ = random_game(seed)
        instant = [bso_instant(range(5), value.__getitem__, width=w).area for w in (1, 2, 5, 128)]
        by_area = [oracle_area(range(5), value.__getitem__, width=w).area for w in (1, 2, 5, 128)]
        losses += instant[-1] < max(instant) - 1e-12
        assert by_area[-1] >= max(*by_area, *instant) - 1e-12
    assert losses > 5


def test_accuracies_belong_to_the_order() -> None:
    value, _ = random_game(0)
    path = bso_instant(range(5), value.__getitem__, width=3)
    assert path.accuracy == tuple(value[tuple(sorted(path.order[:t]))] for t in range(6))


def test_oracle_beats_random_on_a_cell_and_ends_at_the_same_accuracy() -> None:
    cell = cell_of(blobs(46, 3))
    evaluator = Evaluator(cell)
    path = oracle_area(range(20, 27), cell_score(cell, evaluator), width=5)
    plain = simulate(cell, "random", evaluator)
    accuracy = plain.n_correct / plain.n_test
    assert path.accuracy[0] == accuracy[0]
    assert path.accuracy[-1] == accuracy[-1]
    assert path.area >= ((accuracy[1:] + accuracy[:-1]) / 2).mean()


def test_a_set_is_scored_once() -> None:
    calls: list[tuple[int, ...]] = []
    value, _ = random_game(1)

    def score(items: tuple[int, ...]) -> float:
        calls.append(items)
        return value[items]

    oracle_area(range(5), score, width=128)
    assert len(calls) == len(set(calls)) == 32


@pytest.mark.parametrize("options", [{"width": 0}, {"budget": 0}, {"budget": 6}])
def test_settings_out_of_range_are_refused(options: dict[str, int]) -> None:
    value, _ = random_game(0)
    with pytest.raises(OptionError, match="width of at least 1"):
        oracle_area(range(5), value.__getitem__, **options)
