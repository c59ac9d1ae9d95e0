"""Facts particular to GALAXY and DIRECT, on lines that can be read by eye."""

from __future__ import annotations

import numpy as np

import poolwise as pw
from poolwise.kernels.lines import Lines
from poolwise.strategies.direct import _alternating, uncertain_interval
from poolwise.strategies.galaxy import halve_gaps

RNG = np.random.default_rng(0)


def slow_cut(known: list[int], target: int) -> list[int]:
    """All best cuts, by counting on both sides of each."""
    sign = [0 if k < 0 else 1 if k == target else -1 for k in known]
    values = [sum(sign[:s]) - sum(sign[s:]) for s in range(len(sign) + 1)]
    return [s for s, v in enumerate(values) if v == max(values)]


def test_cut_and_interval_equal_counting() -> None:
    for seed in range(50):
        known = np.random.default_rng(seed).choice([-1, -1, 0, 1, 2], 30)
        cut, first, last = uncertain_interval(known, 1, 3)
        cuts = slow_cut(known.tolist(), 1)
        if (known >= 0).any():
            assert cut == cuts[len(cuts) // 2]
        assert 0 <= first <= last < 30
    clean = np.array([1, -1, 1, -1, -1, -1, 0, -1, 0])
    assert uncertain_interval(clean, 1, 2)[1:] == (2, 6)
    assert uncertain_interval(np.array([1, -1, 0, 1, -1, 0]), 1, 2)[1:] == (0, 5)
    assert uncertain_interval(np.full(10, -1), 0, 5) == (2, 0, 9)


def test_picks_alternate_around_the_cut() -> None:
    places = np.array([0, 2, 3, 5, 6, 9])
    assert _alternating(4, places, 4).tolist() == [3, 5, 2, 6]
    assert _alternating(0, places, 3).tolist() == [0, 2, 3]
    assert _alternating(10, places, 2).tolist() == [9, 6]


def test_gaps_between_opposite_labels_are_halved_shortest_first() -> None:
    #        place: 0   1   2   3   4   5   6  7   8   9  10
    known = np.array([1, -1, -1, -1, -1, -1, 0, -1, 1, -1, -1])
    places, gaps = halve_gaps(known, 1, known < 0, 8)
    assert places[0] == 7 and gaps[0] == 1  # between 6 and 8
    assert places[1] == 3 and gaps[1] == 5  # between 0 and 6
    assert set(places[2:6].tolist()) == {1, 2, 4, 5}
    assert set(places[6:].tolist()) == {9, 10}  # behind the last label, no opposite
    blocked = known < 0
    blocked[3] = False  # taken by another class
    assert halve_gaps(known, 1, blocked, 2)[0].tolist() == [7, 2]
    assert sorted(halve_gaps(np.full(5, -1), 0, np.ones(5, dtype=bool), 5)[0].tolist()) == [0, 1, 2, 3, 4]


def test_line_orders_items_by_how_much_the_class_beats_the_others() -> None:
    p = RNG.dirichlet(np.ones(3), size=50)
    lines = Lines(p, np.arange(50), np.array([5, 1, 3]))
    assert lines.classes.tolist() == [1, 2, 0]
    for row, c in enumerate([1, 2, 0]):
        score = [p[i, c] - max(p[i]) + 1e-8 * max(p[i]) for i in range(50)]
        order = lines.order(row)
        assert (np.diff(np.array(score)[order]) <= 1e-7).all()


def make_rare(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """50 to 1: probabilities of a head that is right up to a shift."""
    rng = np.random.default_rng(seed)
    truth = (np.arange(2040) % 51 == 0).astype(np.int64)
    z = rng.normal(size=2040) + 3 * truth
    p = 1 / (1 + np.exp(-(2 * z - 6)))
    return np.stack([1 - p, p], axis=1), truth, rng.permutation(2040)[:200]


def test_direct_and_galaxy_find_more_of_a_rare_class_than_random() -> None:
    for name in ("direct", "galaxy"):
        found = []
        for seed in range(5):
            p, truth, labeled = make_rare(seed)
            labels = np.where(np.isin(np.arange(2040), labeled), truth, -1)
            batch = pw.select(name, probs=p, labels=labels, batch_size=60, seed=seed)
            found.append(truth[batch.indices].mean())
        assert np.mean(found) > 4 / 51


def test_without_noise_direct_hugs_the_boundary() -> None:
    z = np.linspace(-4, 4, 400)
    p = np.stack([1 / (1 + np.exp(z)), 1 / (1 + np.exp(-z))], axis=1)
    labels = np.full(400, -1)
    labels[::20] = (z[::20] > 1).astype(int)  # the head's own boundary lies at 0, the true one at 1
    batch = pw.select("direct", probs=p, labels=labels, batch_size=10)
    assert np.abs(z[batch.indices] - 1).max() < 0.5


def test_flipped_labels_move_directs_cut_less_than_the_nearest_gap() -> None:
    moves_cut, moves_gap = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        known = np.full(300, -1)
        at = np.sort(rng.permutation(300)[:60])
        known[at] = np.where(at < 120, 1, 0)
        flip = rng.permutation(at)[:12]
        known[flip] = 1 - known[flip]
        moves_cut.append(abs(uncertain_interval(known, 1, 2)[0] - 120))
        moves_gap.append(abs(int(halve_gaps(known, 1, known < 0, 1)[0][0]) - 120))
    assert np.mean(moves_cut) < np.mean(moves_gap)


def test_direct_finds_more_of_a_rare_class_than_margin() -> None:
    """50 to 1, one head that is right up to a shift: its own boundary lies where hardly any rare item is."""
    share: dict[str, list[float]] = {"direct": [], "margin": []}
    for seed in range(5):
        p, truth, labeled = make_rare(seed)
        z = np.log(p[:, 1] / p[:, 0]) + 5  # the head's boundary now lies among the common items
        p = np.stack([1 / (1 + np.exp(z)), 1 / (1 + np.exp(-z))], axis=1)
        labels = np.where(np.isin(np.arange(2040), labeled), truth, -1)
        for name, found in share.items():
            found.append(truth[pw.select(name, probs=p, labels=labels, batch_size=60, seed=seed).indices].mean())
    assert np.mean(share["direct"]) > 2 * np.mean(share["margin"])
