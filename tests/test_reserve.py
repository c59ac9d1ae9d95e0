"""The audit slice: uniform, hidden from strategies and training, the same after a crash."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise import loop
from poolwise.errors import OptionError
from poolwise.pool import Pool
from poolwise.registry import STRATEGIES
from poolwise.reserve import (
    AUDITED,
    PROBABILITY,
    AuditPlan,
    audit_order,
    for_annotators,
    judges,
    plan_of,
    set_plan,
    slice_size,
    slices,
    training_state,
)
from poolwise.types import NOT_OF_INTEREST, SKIP


def make_pool(path, n=400, seed=0, classes=3):
    """A pool of Gaussian blobs; class of item i is i % classes."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(n, 8)).astype(np.float32)
    x[np.arange(n), np.arange(n) % classes] += 2
    return Pool.create(path, embeddings=x, seed=seed)


def answer(pool, selection, classes=3):
    pool.label(selection.indices, [f"c{i % classes}" for i in selection.indices.tolist()])


def marked(selection):
    return selection.indices[np.asarray(selection.components[AUDITED], dtype=bool)]


def plan(share, minimum=50):
    return AuditPlan(share, minimum, 0.25, None, ())


@pytest.mark.parametrize(
    ("share", "batch", "size"),
    [
        (0.05, 2000, 100),
        (0.05, 1001, 51),
        (0.05, 500, 50),
        (0.05, 200, 50),
        (0.05, 100, 25),
        (0.05, 50, 12),
        (0.05, 4, 1),
        (0.3, 50, 15),
        (0.05, 2, 1),
        (0.05, 1, 0),
        (0.9, 3, 2),
        (0.0, 500, 0),
    ],
)
def test_a_slice_is_the_share_or_the_minimum_but_at_most_a_quarter_for_the_minimum(share, batch, size):
    assert slice_size(plan(share), batch) == size


def test_without_asking_nothing_is_audited_and_the_batch_is_the_strategys(tmp_path):
    pool = make_pool(tmp_path / "p")
    batch = pool.query("typiclust", batch_size=20)
    assert AUDITED not in batch.components
    assert plan_of(pool.store) is None


def test_the_batch_keeps_its_size_and_the_pool_remembers(tmp_path):
    pool = make_pool(tmp_path / "p")
    first = pool.query("typiclust", batch_size=50, audit=True)
    assert (len(first), len(marked(first)), first.notes["audit"]) == (50, 12, 12)
    answer(pool, first)
    second = pool.query("margin", batch_size=50)
    assert len(marked(second)) == 12
    answer(pool, second)
    assert AUDITED not in pool.query("margin", batch_size=50, audit=0).components


def test_audit_items_are_drawn_uniformly_from_all_that_was_free(tmp_path):
    counts = np.zeros(60)
    for seed in range(300):
        order = audit_order(make_pool_store(tmp_path / str(seed), 60, seed), plan(0.2))
        counts[order[:5]] += 1
    # each item is among the first five in 5 / 60 of the pools: 25 expected, sd 4.8
    assert counts.sum() == 1500
    assert abs(counts - 25).max() < 5 * 4.8


def make_pool_store(path, n, seed):
    class Stub:
        pass

    stub = Stub()
    stub.seed, stub.n_items = seed, n
    return stub


def test_the_order_does_not_depend_on_items_added_later():
    short, long = (audit_order(make_pool_store(None, n, 3), plan(0.2)) for n in (500, 800))
    assert long[long < 500].tolist() == short.tolist()
    assert 30 < (long >= 500).sum() < 120


def test_recorded_probabilities_are_those_of_a_uniform_draw_without_replacement(tmp_path):
    pool = make_pool(tmp_path / "p")
    batch = pool.query("random", batch_size=50, audit=0.1)
    got = np.asarray(batch.components[PROBABILITY])
    assert np.isnan(got[~np.asarray(batch.components[AUDITED], bool)]).all()
    assert np.sort(got[np.isfinite(got)]) == pytest.approx(1 / (400 - np.arange(12)))
    answer(pool, batch)
    again = pool.query("random", batch_size=50)
    assert np.nanmin(again.components[PROBABILITY]) == pytest.approx(1 / 388)


@pytest.mark.parametrize("strategy", ["random", "margin", "badge", "base", "typiclust", "auto"])
def test_strategies_never_see_the_reserve_nor_its_labels(strategy, tmp_path, monkeypatch):
    pool = make_pool(tmp_path / "p")
    for _ in range(2):
        answer(pool, pool.query("random", batch_size=40, audit=0.25))
    seen = {}
    real = loop.choose

    def spy(spec, arrays, known, **rest):
        seen.update({name: known[name] for name in ("labeled", "unlabeled", "labels")})
        return real(spec, arrays, known, **rest)

    monkeypatch.setattr(loop, "choose", spy)
    pool.query(strategy, batch_size=30)
    reserve = audit_order(pool.store, plan_of(pool.store))
    assert len(reserve) > 60
    assert not np.isin(reserve, seen["labeled"]).any()
    assert not np.isin(reserve, seen["unlabeled"]).any()
    if seen["labels"] is not None:
        assert (np.asarray(seen["labels"])[reserve] == -1).all()


def test_audited_labels_never_reach_the_fit(tmp_path):
    """Wrong answers to every audit item leave the model as it is, bit for bit."""
    heads = []
    for wrong in (False, True):
        pool = make_pool(tmp_path / str(wrong))
        for _ in range(3):
            batch = pool.query("margin" if pool.can_fit() else "random", batch_size=40, audit=0.25)
            audit = set(marked(batch).tolist())
            names = [f"c{(i + (wrong and i in audit)) % 3}" for i in batch.indices.tolist()]
            pool.label(batch.indices, names)
        heads.append(pool.fit().model.head_weight)
    assert np.array_equal(*heads)


def test_audit_train_lets_old_slices_in_after_k_rounds(tmp_path):
    pool = make_pool(tmp_path / "p")
    for _ in range(3):
        answer(pool, pool.query("random", batch_size=40, audit=0.25, audit_train=2))
        pool.fit()
    now = pool.store.current_round
    old, young = ([s.indices for s in slices(pool.store) if (now - s.round >= 2) is late] for late in (True, False))
    labeled = training_state(pool.store).labeled
    assert np.isin(np.concatenate(old), labeled).all()
    assert not np.isin(np.concatenate(young), labeled).any()
    assert sorted(judges(pool.store)) == sorted(np.concatenate(young))


def test_places_of_audit_items_tell_nothing(tmp_path):
    """Mean rank of the slice over many batches is that of a random place."""
    ranks = []
    for seed in range(40):
        pool = make_pool(tmp_path / str(seed), n=120, seed=seed)
        batch = pool.query("random", batch_size=40, audit=0.25)
        ranks += np.flatnonzero(batch.components[AUDITED]).tolist()
    assert len(ranks) == 400
    assert abs(np.mean(ranks) - 19.5) < 4 * 11.5 / np.sqrt(400)


def test_rows_for_annotators_do_not_tell(tmp_path):
    pool = make_pool(tmp_path / "p")
    answer(pool, pool.query("random", batch_size=40))
    rows = pool.query("margin", batch_size=40, audit=0.25).rows()
    assert {row["audit"] for row in rows} == {True, False}
    assert set(for_annotators(rows)[0]) == {"rank", "index", "item_id"}
    plain = pool.query("margin", batch_size=5, audit=0).rows()
    assert for_annotators(plain) == plain


def test_an_empty_reserve_is_no_error(tmp_path):
    pool = make_pool(tmp_path / "p", n=30)
    sizes = []
    while len(pool.state().unlabeled) > 6:
        batch = pool.query("random", batch_size=6, audit=0.5)
        sizes.append(int(np.sum(batch.components.get(AUDITED, 0))))
        answer(pool, batch)
    assert sizes[0] == 3
    assert sum(sizes) <= len(audit_order(pool.store, plan_of(pool.store)))
    last = pool.query("random", batch_size=len(pool.state().unlabeled))
    answer(pool, last)
    assert len(pool.state().labeled) == 30


def test_the_whole_pool_can_be_labeled_and_auditing_then_ends(tmp_path):
    pool = make_pool(tmp_path / "p", n=40)
    answer(pool, pool.query("random", batch_size=10, audit=0.2))
    rest = pool.query("random", batch_size=30)
    assert rest.notes["audit_reserve_opened"]
    assert AUDITED not in rest.components
    pool.release()
    assert AUDITED not in pool.query("random", batch_size=5).components


def test_skipped_and_foreign_answers_judge_nothing(tmp_path):
    pool = make_pool(tmp_path / "p")
    batch = pool.query("random", batch_size=40, audit=0.25)
    audit = set(marked(batch).tolist())
    names = [SKIP if i in audit else f"c{i % 3}" for i in batch.indices.tolist()]
    names[batch.indices.tolist().index(min(audit))] = NOT_OF_INTEREST
    pool.label(batch.indices, names)
    assert "accuracy_audit" not in pool.fit().metrics


def test_only_settled_slices_judge(tmp_path):
    pool = make_pool(tmp_path / "p")
    first = pool.query("random", batch_size=40, audit=0.25)
    answer(pool, first)
    second = pool.query("random", batch_size=40)
    half = marked(second)[:5]
    pool.label(half, [f"c{i % 3}" for i in half.tolist()])
    assert set(loop.audited(pool.store)[0]) == set(marked(first))
    pool.release()
    indices, _, look = loop.audited(pool.store)
    assert (len(indices), look) == (15, 2)


def test_items_given_back_are_drawn_again_and_count_once(tmp_path):
    pool = make_pool(tmp_path / "p")
    first = pool.query("random", batch_size=40, audit=0.25)
    pool.release()
    second = pool.query("random", batch_size=40)
    assert sorted(marked(second)) == sorted(marked(first))
    assert [s.settled for s in slices(pool.store)] == [True, False]
    answer(pool, second)
    assert len(loop.audited(pool.store)[0]) == 10


def test_a_correction_of_an_audit_label_counts(tmp_path):
    pool = make_pool(tmp_path / "p")
    batch = pool.query("random", batch_size=40, audit=0.25)
    answer(pool, batch)
    item = int(marked(batch)[0])
    pool.label([item], [f"c{(item + 1) % 3}"])
    indices, labels, _ = loop.audited(pool.store)
    assert pool.classes[labels[indices.tolist().index(item)]] == f"c{(item + 1) % 3}"


def test_items_that_were_labeled_before_auditing_are_never_in_the_reserve(tmp_path):
    pool = make_pool(tmp_path / "p")
    before = pool.query("random", batch_size=100)
    answer(pool, before)
    pool.query("random", batch_size=50, audit=0.1)
    assert not np.isin(audit_order(pool.store, plan_of(pool.store)), before.indices).any()


@pytest.mark.parametrize("wrong", [{"audit": 1.5}, {"audit": -0.1}, {"audit_min": -1}, {"audit_train": 0}])
def test_wrong_values_are_refused(wrong, tmp_path):
    pool = make_pool(tmp_path / "p")
    with pytest.raises(OptionError, match="audit"):
        pool.query("random", batch_size=10, **{"audit": 0.1, **wrong})
    assert plan_of(pool.store) is None


def test_a_query_killed_before_it_is_recorded_gives_the_same_batch(tmp_path, monkeypatch):
    """Stand-in for kill -9: the choice is made, then nothing is written. Real kills are in tests/store."""
    pool = make_pool(tmp_path / "p")
    answer(pool, pool.query("random", batch_size=40, audit=0.25))
    lost = []
    real = type(pool.store)._record

    def die(self, selection, key):
        lost.append(selection)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(pool.store), "_record", die)
    with pytest.raises(KeyboardInterrupt):
        pool.query("badge", batch_size=40)
    monkeypatch.setattr(type(pool.store), "_record", real)
    again = Pool.open(tmp_path / "p").query("badge", batch_size=40)
    assert again.indices.tolist() == lost[0].indices.tolist()
    assert marked(again).tolist() == marked(lost[0]).tolist()


def test_a_simulated_run_spends_exactly_the_budget_with_the_audit_in_it(tmp_path):
    pool = make_pool(tmp_path / "p")
    truth = {str(i): f"c{i % 3}" for i in range(400)}
    assert pool.run("margin", batch_size=25, budget=100, oracle=truth, audit=0.2)
    assert len(pool.state().labeled) == 100
    assert len(judges(pool.store)) == 24  # four batches of 25 with a quarter each, rounded down
    metrics = pool.store.rounds()[-1].metrics
    assert metrics["accuracy_audit_low"] <= metrics["accuracy_audit"] <= metrics["accuracy_audit_high"]
    assert "accuracy_low" not in metrics  # the held-out part measures `accuracy`


def test_set_plan_keeps_the_rate_it_began_with(tmp_path):
    pool = make_pool(tmp_path / "p")
    free = pool.state().unlabeled
    first = set_plan(pool.store, free, share=0.05)
    assert first.rate == 0.25
    assert set_plan(pool.store, free, share=0.6).rate == 0.25
    assert STRATEGIES["random"]
