"""Facts about Pareto-good subsets, against fronts found by looking at every subset."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from poolwise.ood import pareto
from poolwise.ood.pareto import (
    Front,
    between,
    choose_by_overlap,
    choose_knee,
    exact_front,
    matters,
    mmd,
    monte_carlo_front,
    overlaps,
    pareto_front,
    peel,
    supported_front,
)


def items(seed: int, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(size=n), rng.uniform(size=n)


def dominates(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] >= b[0] and a[1] >= b[1] and a != b


def every_front(u: np.ndarray, m: np.ndarray, count: int) -> set[tuple[int, ...]]:
    points = {s: (sum(u[list(s)]), sum(m[list(s)])) for s in combinations(range(len(u)), count)}
    return {s for s, p in points.items() if not any(dominates(q, p) for q in points.values())}


def subsets(front: Front) -> set[tuple[int, ...]]:
    return {tuple(row) for row in front.members.tolist()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 3, 6, 11, 12])
def test_the_front_is_that_of_all_subsets(seed: int, count: int) -> None:
    u, m = items(seed)
    front = pareto_front(u, m, count)
    assert front.exact
    assert subsets(front) == every_front(u, m, count)


@pytest.mark.parametrize("seed", range(5))
def test_shifting_scaling_and_permuting_keep_the_front(seed: int) -> None:
    u, m = items(seed)
    expected = subsets(pareto_front(u, m, 4))
    assert subsets(pareto_front(3 * u - 7, 0.5 * m + 2, 4)) == expected
    order = np.random.default_rng(9).permutation(12)
    permuted = subsets(pareto_front(u[order], m[order], 4))
    assert {tuple(sorted(order[list(s)].tolist())) for s in permuted} == expected


@pytest.mark.parametrize("seed", range(5))
def test_only_items_with_fewer_dominators_than_the_batch_matter(seed: int) -> None:
    u, m = items(seed, 40)
    dominators = [sum(dominates((u[j], m[j]), (u[i], m[i])) for j in range(40)) for i in range(40)]
    for count in (1, 3, 10):
        assert matters(u, m, count).tolist() == [d < count for d in dominators]
    used = {i for s in every_front(*items(seed), 3) for i in s}
    assert used <= set(np.flatnonzero(matters(*items(seed), 3)).tolist())


def test_of_equal_items_only_a_batch_full_matters() -> None:
    assert matters(np.ones(9), np.ones(9), 4).tolist() == [True] * 4 + [False] * 5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("grid", [0, 4])
def test_peels_fronts_of_items(seed: int, grid: int) -> None:
    u, m = items(seed, 60)
    if grid:
        u, m = np.round(u * grid), np.round(m * grid)
    left, layer = set(range(60)), {}
    while left:
        front = {i for i in left if not any(dominates((u[j], m[j]), (u[i], m[i])) for j in left)}
        layer |= dict.fromkeys(front, max(layer.values(), default=-1) + 1)
        left -= front
    assert peel(u, m).tolist() == [layer[i] for i in range(60)]


@pytest.mark.parametrize("seed", range(5))
def test_supported_subsets_are_on_the_front_and_hold_both_extremes(seed: int) -> None:
    u, m = items(seed)
    front = supported_front(u, m, 3)
    assert subsets(front) <= every_front(u, m, 3)
    assert front.useful[0] == pytest.approx(np.sort(u)[-3:].sum())
    assert front.sure[-1] == pytest.approx(np.sort(m)[-3:].sum())
    hull = {
        max(combinations(range(12), 3), key=lambda s: w * u[list(s)].sum() + (1 - w) * m[list(s)].sum())
        for w in np.linspace(0.001, 0.999, 500)
    }
    assert hull <= subsets(front)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_added_between_neighbours_is_not_dominated(seed: int) -> None:
    u, m = items(seed)
    supported = supported_front(u, m, 5)
    front = between(u, m, supported)
    assert subsets(supported) <= subsets(front)
    points = list(zip(front.useful.tolist(), front.sure.tolist(), strict=True))
    assert not any(dominates(a, b) for a in points for b in points)


def test_large_pools_get_the_part_of_the_front_that_is_feasible() -> None:
    u, m = items(0, 600)
    assert exact_front(u, m, 100) is None
    front = pareto_front(u, m, 100)
    assert not front.exact
    assert np.all(np.diff(front.useful) < 0) and np.all(np.diff(front.sure) > 0)
    assert front.members.shape[1] == 100 and all(len(set(row)) == 100 for row in front.members.tolist())


def test_computed_fronts_are_far_beyond_random_ones() -> None:
    """600 items, B = 100: the best equal-weight sum of 20,000 random subsets stays far below the optimum."""
    u, m = items(1, 600)
    best = float((pareto_front(u, m, 100).useful + pareto_front(u, m, 100).sure).max())
    random = monte_carlo_front(u, m, 100, np.random.default_rng(0), draws=2000, early_stopping=False).front
    assert best == pytest.approx(np.sort(u + m)[-100:].sum())
    assert float((random.useful + random.sure).max()) < 0.8 * best


def test_enough_random_subsets_give_the_whole_front() -> None:
    u, m = items(2)
    found = monte_carlo_front(u, m, 3, np.random.default_rng(0), draws=6000, early_stopping=False)
    assert subsets(found.front) == every_front(u, m, 3)


def test_random_search_stops_early_once_the_front_is_steady() -> None:
    u, m = items(3)
    found = monte_carlo_front(u, m, 3, np.random.default_rng(0), draws=10**6)
    assert found.stopped_early and found.draws < 10**5


def test_overlap_counts_shared_items_and_ties_go_to_the_more_useful() -> None:
    members = np.array([[0, 1], [1, 2], [2, 3], [0, 3]])
    front = Front(np.array([4.0, 3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0, 4.0]), members)
    assert overlaps(front).tolist() == [4, 4, 4, 4]
    assert choose_by_overlap(front) == 0
    shared = Front(front.useful, front.sure, np.array([[0, 1], [1, 2], [1, 3], [4, 5]]))
    assert overlaps(shared).tolist() == [4, 4, 4, 2]
    assert choose_knee(Front(np.array([1.0, 0.9, 0.0]), np.array([0.0, 0.8, 1.0]), members[:3])) == 1


def test_discrepancy_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 2)), rng.normal(size=(8, 2)) + 1
    both = [*x, *y]
    pairs = [float((a - b) @ (a - b)) for a in both for b in both]
    h = sum(pairs) / (13 * 13 - 13)

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return sum(np.exp(-float((a - b) @ (a - b)) / (h * f)) for f in (0.25, 0.5, 1, 2, 4))

    expected = np.mean([[k(a, b) for b in x] for a in x]) + np.mean([[k(a, b) for b in y] for a in y])
    expected -= 2 * np.mean([[k(a, b) for b in y] for a in x])
    assert mmd(x, y) == pytest.approx(expected, rel=1e-10)
    assert mmd(x, x) == pytest.approx(0, abs=1e-12)


def test_a_constant_sum_leaves_the_top_of_the_other() -> None:
    u, _ = items(4, 100)
    front = pareto_front(u, np.zeros(100), 7)
    assert len(front) == 1 and set(front.members[0]) == set(np.argsort(-u)[:7])


def test_many_members_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pareto, "MOST_MEMBERS", 500)
    assert len(pareto_front(*items(5, 600), 50)) <= 10


def test_every_subset_that_was_drawn_is_weakly_dominated_by_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    u, m = items(6, 30)
    drawn: list[np.ndarray] = []
    front_of = pareto._front

    def keep(useful: np.ndarray, sure: np.ndarray, members: np.ndarray, *, exact: bool = False) -> Front:
        drawn.append(members)
        return front_of(useful, sure, members, exact=exact)

    monkeypatch.setattr(pareto, "_front", keep)
    archive = monte_carlo_front(u, m, 5, np.random.default_rng(0), draws=1000, early_stopping=False).front
    everything = np.unique(np.concatenate(drawn), axis=0)
    assert len(everything) > 900 and (np.diff(everything, axis=1) > 0).all()
    for subset in everything:
        point = (u[subset].sum(), m[subset].sum())
        assert any(
            a >= point[0] - 1e-12 and b >= point[1] - 1e-12 for a, b in zip(archive.useful, archive.sure, strict=True)
        )
    for i, a in enumerate(zip(archive.useful, archive.sure, strict=True)):
        assert not any(dominates(b, a) for j, b in enumerate(zip(archive.useful, archive.sure, strict=True)) if j != i)
