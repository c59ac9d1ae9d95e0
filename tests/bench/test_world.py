"""Facts about what a seed meets: pools drawn anew, rare and foreign classes, answers that err."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.bench import run
from poolwise.bench.cell import Cell, run_cell
from poolwise.bench.suite import DatasetUse, StrategyUse
from poolwise.bench.tasks import Task
from poolwise.bench.world import draw_world
from poolwise.errors import InputError, OptionError
from poolwise.registry import STRATEGIES, strategy
from poolwise.train.linear_probe import ProbeSettings
from poolwise.types import BoolArray, FloatArray, IndexArray

C = 10


def task(rows: int = 400) -> Task:
    """Row i of pool and test has the value i and class i % 10."""
    x = np.arange(rows, dtype=np.float32)[:, None]
    y = np.arange(rows) % C
    return Task("ten", x, y, x, y, tuple("abcdefghij"))


def use(**keys) -> DatasetUse:
    return DatasetUse("ten", 10, 10, 2, **keys)


def test_nothing_to_change_leaves_the_arrays_themselves():
    given = task()
    world = draw_world(given, use(), 3)
    assert world.pool is given.pool
    assert world.test is given.test
    assert world.truth.tolist() == world.answers.tolist() == given.pool_labels.tolist()
    assert world.n_classes == C


def test_each_seed_draws_its_share_of_the_pool_and_the_test_part_stays():
    pools = [draw_world(task(), use(resample=0.75), seed) for seed in (0, 0, 1)]
    rows = [world.pool[:, 0].astype(int).tolist() for world in pools]
    assert [len(r) for r in rows] == [300] * 3
    assert rows[0] == rows[1] != rows[2]
    assert rows[0] == sorted(set(rows[0]))
    for world, kept in zip(pools, rows, strict=True):
        assert world.truth.tolist() == [i % C for i in kept]
        assert len(world.test) == 400


def test_foreign_classes_have_no_class_and_are_not_tested():
    drawn = set()
    for seed in range(4):
        world = draw_world(task(), use(foreign=0.3), seed)
        original = world.pool[:, 0].astype(int) % C
        foreign = set(original[world.truth == -1].tolist())
        assert len(foreign) == 3
        known = [c for c in range(C) if c not in foreign]
        assert {known[t] for t in world.truth[world.truth >= 0]} == set(known)
        assert all(known[t] == o for t, o in zip(world.truth, original, strict=True) if t >= 0)
        assert all(known[t] == int(v) % C for t, v in zip(world.test_labels, world.test[:, 0], strict=True))
        assert len(world.test) == 280
        assert world.n_classes == 7
        drawn.add(frozenset(foreign))
    assert len(drawn) > 1


def test_the_share_of_wrong_answers_is_the_one_asked_for_and_foreign_items_stay_foreign():
    world = draw_world(task(4000), use(noise=0.2, foreign=0.5), 0)
    known = world.truth >= 0
    assert (world.answers[~known] == -1).all()
    assert 0.17 < (world.answers != world.truth)[known].mean() < 0.23
    assert world.answers.max() == 4


def test_a_long_tail_keeps_the_ratio_and_seeds_draw_which_class_is_rare():
    counts = [np.bincount(draw_world(task(), use(long_tail=0.1), seed).truth, minlength=C) for seed in (0, 1)]
    assert [(c.max(), c.min()) for c in counts] == [(40, 4)] * 2
    assert counts[0].tolist() != counts[1].tolist()


@pytest.mark.parametrize("foreign", [0.04, 0.95])
def test_too_few_or_too_many_foreign_classes_are_refused(foreign):
    with pytest.raises(OptionError, match=r"foreign = .* of 10 classes"):
        draw_world(task(), use(foreign=foreign), 0)


def test_a_pool_of_one_row_is_refused():
    with pytest.raises(InputError, match="1 pool items are left"):
        draw_world(task(10), use(resample=0.1), 0)


def suite(**keys):
    dataset = {"task": "test_blobs:classes=6,rows=300", "initial": 20, "batch_size": 20, "rounds": 3, **keys}
    return {"name": "toy", "seeds": 2, "strategies": ["random", "margin", "coreset"], "datasets": [dataset]}


def test_answers_that_are_not_of_interest_cost_labels():
    results = run(suite(foreign=0.34))
    assert not results.failures
    for name in ("random", "margin", "coreset"):
        assert results.column("n_labeled", strategy=name, seed=0) == [20, 40, 60, 80]
    spent = results.column("n_foreign", strategy="random", round=3)
    assert min(spent) > 0
    assert results.column("n_foreign", strategy="random", seed=0) == sorted(
        results.column("n_foreign", strategy="random", seed=0)
    )


def test_an_item_of_a_foreign_class_is_asked_once_only():
    results = run({**suite(foreign=0.34, rounds=14), "seeds": 1})
    assert results.column("n_labeled", strategy="margin")[-1] == 300
    assert len({results.column("n_foreign", strategy=s)[-1] for s in ("random", "margin", "coreset")}) == 1


def test_an_initial_set_without_a_class_of_interest_is_named():
    with pytest.raises(InputError, match="none of the 1 initial items"):
        for rows in range(40, 60):
            run({**suite(foreign=0.67, initial=1, task=f"test_blobs:classes=6,rows={rows}"), "seeds": 1})


def test_wrong_answers_lower_accuracy_and_are_the_same_for_all_strategies():
    clean, noisy = (run(suite(noise=noise)) for noise in (0.0, 0.4))
    assert clean.column("labeled_digest", round=0) == noisy.column("labeled_digest", round=0)
    assert np.mean(noisy.column("accuracy", round=3)) < np.mean(clean.column("accuracy", round=3))
    first = noisy.column("accuracy", seed=0, round=0)
    assert len(first) == 3
    assert len(set(first)) == 1


def test_intervals_over_drawn_pools_differ_from_those_over_one_pool():
    whole, drawn = (run(suite(resample=share)) for share in (1.0, 0.5))
    digests = [set(r.column("labeled_digest", strategy="random", round=3)) for r in (whole, drawn)]
    assert not digests[0] & digests[1]
    assert drawn.column("n_labeled", strategy="random", seed=0) == [20, 40, 60, 80]


def two_lands(rows: int = 600) -> Task:
    """Four classes at the corners of a square; the seed draws which two are foreign."""
    rng = np.random.default_rng(0)
    y = np.arange(rows) % 4
    corners = np.array([[0, 0], [0, 12], [12, 0], [12, 12]], dtype=np.float32)
    x = (corners[y] + rng.normal(size=(rows, 2))).astype(np.float32)
    return Task("two lands", x, y, x, y, tuple("abcd"))


def cell(name: str, seed: int = 0, **keys) -> Cell:
    return Cell(DatasetUse("two lands", 24, 20, 3, foreign=0.5), StrategyUse(name, **keys), seed, ProbeSettings())


@pytest.mark.parametrize("seed", range(3))
def test_behind_a_gate_only_items_of_interest_are_bought_once_answers_taught_it(seed):
    plain = run_cell(cell("random", seed), two_lands())
    gated = run_cell(cell("random", seed, ood="answers"), two_lands())
    assert plain[0]["labeled_digest"] == gated[0]["labeled_digest"]
    assert gated[-1]["n_foreign"] == gated[0]["n_foreign"] >= 5  # the corners are 12 standard deviations apart
    assert plain[-1]["n_foreign"] - plain[0]["n_foreign"] > 20  # half of 60


def test_strategies_see_what_was_rejected_and_only_that():
    seen = []

    @strategy("test_spy", family="test", paper="none", use_when="never")
    def spy(
        embeddings: FloatArray,
        labels: IndexArray,
        labeled: IndexArray,
        unlabeled: IndexArray,
        foreign: BoolArray | None = None,
        ood_scores: FloatArray | None = None,
        *,
        batch_size: int,
    ) -> IndexArray:
        """Note what is given, and take the first items."""
        seen.append((labels.copy(), labeled, unlabeled, np.asarray(foreign), ood_scores))
        return unlabeled[:batch_size]

    try:
        given = two_lands()
        run_cell(cell("test_spy", 1, ood="answers"), given)
        run_cell(cell("test_spy", 1), given)
    finally:
        del STRATEGIES._entries["test_spy"]
    truth = draw_world(given, cell("random").dataset, 1).truth
    for number, (labels, labeled, unlabeled, foreign, scores) in enumerate(seen):
        known = np.setdiff1d(np.arange(len(truth)), unlabeled)
        assert len(known) == 24 + 20 * (number % 3)
        assert np.array_equal(np.flatnonzero(foreign), known[truth[known] < 0])
        assert np.array_equal(labeled, known[truth[known] >= 0])
        assert np.array_equal(labels[labeled], truth[labeled])
        assert (labels[np.setdiff1d(np.arange(len(truth)), labeled)] == -1).all()
        assert (scores is not None) == (number < 3)
    first = seen[0][4]
    free = seen[0][2]
    assert first[free][truth[free] < 0].min() > first[free][truth[free] >= 0].max()


def test_a_strategy_that_starts_cold_does_so_without_a_gate():
    dataset = DatasetUse("two lands", 24, 20, 1, start="strategy", foreign=0.5)
    rows = run_cell(Cell(dataset, StrategyUse("coreset", ood="answers"), 0, ProbeSettings()), two_lands())
    assert [row["n_labeled"] for row in rows] == [24, 44]


def test_a_strategy_that_needs_labels_starts_at_random_and_does_not_fail():
    dataset = DatasetUse("two lands", 24, 20, 1, start="strategy", foreign=0.5)
    rows = run_cell(Cell(dataset, StrategyUse("balancing"), 0, ProbeSettings()), two_lands())
    assert [row["chosen_by"] for row in rows] == ["random", "strategy"]
