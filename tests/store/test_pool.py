"""The promise of a pool: what was returned is on disk, nothing is overwritten, nobody gets an item twice.

What survives kill -9 is in test_crashes.py.
"""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import pickle
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from poolwise.errors import InputError, PoolVersionError, StoreError, UnknownNameError
from poolwise.store.pool import PoolStore, batch_seed
from poolwise.types import NOT_OF_INTEREST, SKIP, Annotation, Item, PoolState, Selection

Choose = Callable[[PoolState, int], Selection]


def some_items(n: int, first: int = 0) -> list[Item]:
    return [
        Item(i, f"item-{i}", uri=f"{i}.jpg", group_id=f"g{i % 3}", metadata={"n": i}) for i in range(first, first + n)
    ]


def pick(*indices: int) -> Choose:
    """Choose these items."""
    return lambda state, seed: Selection(np.array(indices, dtype=np.int64), None, "given", {}, seed, 0.0)


def take(batch_size: int) -> Choose:
    """Choose at random from the unlabeled items, with scores and components."""

    def choose(state: PoolState, seed: int) -> Selection:
        picks = np.random.default_rng(seed).permutation(state.unlabeled)[:batch_size]
        scores = (picks / 7).astype(np.float32)
        return Selection(picks, scores, "random", {"k": 1}, seed, 0.5, {"gap": picks / 3, "why": picks > 3}, {"a": 1.5})

    return choose


@pytest.fixture
def pool(tmp_path: Path) -> PoolStore:
    return PoolStore.create(tmp_path / "birds.pool", some_items(30), source={"kind": "images"}, seed=7)


@pytest.fixture
def declared(tmp_path: Path) -> PoolStore:
    return PoolStore.create(
        tmp_path / "declared.pool", some_items(30), classes=["sparrow", "robin", "gull"], source={"kind": "images"}
    )


# --- create, open ---------------------------------------------------------------------------------------------


def test_an_opened_pool_holds_what_create_was_given(pool: PoolStore) -> None:
    again = PoolStore.open(str(pool.path))
    assert (again.name, again.n_items, again.source, again.seed) == ("birds.pool", 30, {"kind": "images"}, 7)
    assert again.items() == list(again.iter_items()) == some_items(30)
    assert again.item(11) == some_items(30)[11]
    assert again.items(np.array([4, 2])) == [some_items(30)[4], some_items(30)[2]]
    assert [item.index for item in again.iter_items(5, 9)] == [5, 6, 7, 8]


def test_item_ids_and_indices_map_both_ways_in_any_order(pool: PoolStore) -> None:
    assert pool.index_of(["item-9", "item-0", "item-9"]).tolist() == [9, 0, 9]
    assert pool.item_ids([3, 1]) == ["item-3", "item-1"]
    assert pool.item_ids() == [f"item-{i}" for i in range(30)]
    assert pool.index_of([]).dtype == np.int64


def test_an_unknown_id_is_named_with_the_number_of_them(pool: PoolStore) -> None:
    with pytest.raises(UnknownNameError, match=r"no item 'x', 'y', 'z' \(4 of 5 ids are unknown\).*'item-0'"):
        pool.index_of(["x", "item-1", "y", "z", "w"])


@pytest.mark.parametrize("index", [30, -1])
def test_an_index_outside_the_pool_is_refused(pool: PoolStore, index: int) -> None:
    for read in (pool.item, lambda i: pool.item_ids([i]), lambda i: pool.annotate([Annotation(i, "a")])):
        with pytest.raises(InputError, match=rf"pool index {index} is not in the pool; it has items 0 to 29"):
            read(index)


def test_create_refuses_an_existing_pool_and_leaves_it_alone(pool: PoolStore) -> None:
    with pytest.raises(StoreError, match="is a pool already"):
        PoolStore.create(pool.path, some_items(3), source={})
    assert PoolStore.open(pool.path).n_items == 30


def test_create_refuses_a_file_and_a_directory_with_other_things(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        PoolStore.create(tmp_path / "file", some_items(3), source={})
    with pytest.raises(StoreError, match="holds other files"):
        PoolStore.create(tmp_path, some_items(3), source={})


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "needs at least one item"),
        ([Item(0, "a"), Item(1, "b"), Item(2, "a"), Item(3, "b"), Item(4, "c")], r"'a', 'b' occur more.*\(2 such ids"),
        ([Item(0, "a"), Item(1, "")], "item 1 has the id ''"),
        ([Item(0, "a"), Item(1, 5)], "item 1 has the id 5"),  # type: ignore[arg-type]
        ([Item(0, "a"), Item(1, "b\udcff")], "not valid Unicode"),
    ],
)
def test_a_refused_create_leaves_nothing_behind(tmp_path: Path, items: list[Item], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PoolStore.create(tmp_path / "p", items, source={})
    assert not (tmp_path / "p").exists()


def test_a_source_that_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    def failing():
        yield from some_items(20_000)
        raise RuntimeError("disk unplugged")

    with pytest.raises(RuntimeError, match="unplugged"):
        PoolStore.create(tmp_path / "p", failing(), source={})
    assert not (tmp_path / "p").exists()


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.EPERM, "no hard links")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert PoolStore.create(tmp_path / "p", some_items(3), source={}).n_items == 3


def test_of_two_who_create_the_same_pool_at_once_one_is_told(tmp_path: Path) -> None:
    def slow():
        yield from some_items(2)
        PoolStore.create(tmp_path / "p", some_items(5), source={})  # in the meantime
        yield from some_items(2, first=2)

    with pytest.raises(StoreError, match="made by another process meanwhile"):
        PoolStore.create(tmp_path / "p", slow(), source={})
    assert PoolStore.open(tmp_path / "p").n_items == 5


@pytest.mark.parametrize("classes", [["a", "b", "a"], ["a", ""], [SKIP]])
def test_class_names_are_distinct_and_not_empty(tmp_path: Path, classes: list[str]) -> None:
    with pytest.raises(InputError, match="class"):
        PoolStore.create(tmp_path / "p", some_items(3), classes=classes, source={})


def test_open_refuses_what_is_no_pool(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, what in ((tmp_path / "none", "does not exist"), (tmp_path, "no ledger"), (tmp_path / "file", "a file")):
        with pytest.raises(StoreError, match=f"is no pool: it .*{what}"):
            PoolStore.open(path)
    (tmp_path / "ledger.sqlite").touch()
    with pytest.raises(StoreError, match="its ledger is empty"):
        PoolStore.open(tmp_path)


def test_a_damaged_ledger_is_explained(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no database at all, but long enough to look like one" * 100)
    with pytest.raises(StoreError, match=r"is damaged .*recover"):
        PoolStore.open(tmp_path)


def test_a_pool_from_a_newer_version_is_refused(pool: PoolStore) -> None:
    pool.close()
    with sqlite3.connect(pool.path / "ledger.sqlite") as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(PoolVersionError, match=r"has format 2; this poolwise reads up to 1\. Upgrade"):
        PoolStore.open(pool.path)


def test_a_seed_must_be_a_natural_number(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="seed must be between 0"):
        PoolStore.create(tmp_path / "p", some_items(3), source={}, seed=-1)


def test_subclasses_come_out_of_create_and_open(tmp_path: Path) -> None:
    class Facade(PoolStore):
        pass

    assert type(Facade.create(tmp_path / "p", some_items(1), source={})) is Facade
    assert type(pickle.loads(pickle.dumps(PoolStore.open(tmp_path / "p")))) is PoolStore


def test_a_closed_pool_opens_itself_again_and_leaves_one_file(pool: PoolStore) -> None:
    pool.annotate([Annotation(0, "a")], allow_unasked=True)
    pool.close()
    assert [path.name for path in pool.path.iterdir()] == ["ledger.sqlite"]
    assert pool.state().labeled.tolist() == [0]


# --- append ---------------------------------------------------------------------------------------------------


def test_appended_items_get_the_next_indices(pool: PoolStore) -> None:
    assert pool.append_items(some_items(5, first=30)) == range(30, 35)
    assert pool.n_items == 35
    assert pool.items() == some_items(35)
    assert len(pool.state().unlabeled) == len(pool.state().labels) == 35


def test_items_that_are_there_already_are_named_and_nothing_is_added(pool: PoolStore) -> None:
    again = [Item(0, "new"), Item(0, "item-3"), Item(0, "other"), Item(0, "new")]
    with pytest.raises(InputError, match=r"2 items to add.*'item-3', 'new'; nothing was added.*skip_existing"):
        pool.append_items(again)
    assert pool.n_items == 30
    assert pool.append_items(again, skip_existing=True) == range(30, 32)
    assert pool.item_ids([30, 31]) == ["new", "other"]
    assert pool.append_items(again, skip_existing=True) == range(32, 32)


# --- labels and state -----------------------------------------------------------------------------------------


def test_a_batch_leaves_the_unlabeled_items_and_its_answers_become_labels(pool: PoolStore) -> None:
    batch = pool.ask(take(5))
    picks = batch.selection.indices
    assert not np.isin(picks, pool.state().unlabeled).any()
    assert len(pool.state().unlabeled) == 25
    assert pool.annotate([Annotation(int(i), "b" if k else "a") for k, i in enumerate(picks)]) == 5
    state = pool.state()
    assert state.labeled.tolist() == sorted(picks.tolist())
    assert state.labels[picks].tolist() == [0, 1, 1, 1, 1]
    assert state.labels.dtype == state.labeled.dtype == state.unlabeled.dtype == np.int64
    assert pool.open_batch() is None


def test_the_last_answer_wins_and_all_are_kept(pool: PoolStore) -> None:
    for label in ("a", "b", SKIP, "a", "b"):
        pool.annotate([Annotation(3, label)], allow_unasked=True)
    assert pool.state().labels[3] == pool.classes.index("b")
    assert [a.label for a in pool.annotations()] == ["a", "b", SKIP, "a", "b"]
    pool.annotate([Annotation(3, "b"), Annotation(3, "a")])  # in one call too
    assert pool.state().labels[3] == pool.classes.index("a")


@pytest.mark.parametrize("word", [SKIP, NOT_OF_INTEREST])
def test_items_answered_with_a_word_are_neither_labeled_nor_unlabeled(pool: PoolStore, word: str) -> None:
    pool.annotate([Annotation(3, word)], allow_unasked=True)
    state = pool.state()
    assert 3 not in state.labeled
    assert 3 not in state.unlabeled
    assert state.labels[3] == -1
    assert pool.classes == []


def test_a_label_for_an_item_never_asked_needs_the_flag(pool: PoolStore) -> None:
    with pytest.raises(InputError, match=r"item 'item-4' was never asked \(2 such items\).*allow_unasked=True"):
        pool.annotate([Annotation(4, "a"), Annotation(5, "a")])
    assert pool.annotations() == []
    assert pool.classes == []
    pool.annotate([Annotation(4, "a")], allow_unasked=True)
    pool.annotate([Annotation(4, "b")])  # a correction of what is there needs none


def test_late_answers_to_a_released_batch_count(pool: PoolStore) -> None:
    pool.ask(pick(1, 2))
    pool.release(1)
    pool.annotate([Annotation(1, "a")])
    assert pool.state().labeled.tolist() == [1]


def test_a_label_outside_the_declared_classes_is_refused_with_the_nearest(declared: PoolStore) -> None:
    labels = [Annotation(0, "gull"), Annotation(1, "robbin"), Annotation(2, "Gull")]
    with pytest.raises(UnknownNameError, match=r"no class named 'robbin' \(2 of 3 labels.*did you mean 'robin'\?"):
        declared.annotate(labels, allow_unasked=True)
    assert declared.annotations() == []
    declared.annotate(labels[:1], allow_unasked=True)
    assert declared.state().labels[0] == 2
    assert declared.classes == ["sparrow", "robin", "gull"]


def test_undeclared_classes_grow_and_their_numbers_never_change(pool: PoolStore) -> None:
    pool.annotate([Annotation(i, name) for i, name in enumerate(["10", "9", "1"])], allow_unasked=True)
    assert pool.classes == ["1", "9", "10"]  # numbers in the order of counting
    pool.annotate([Annotation(5, "0"), Annotation(6, "9")], allow_unasked=True)
    assert pool.classes == ["1", "9", "10", "0"]
    assert pool.state().labels[[0, 1, 2, 5, 6]].tolist() == [2, 1, 0, 3, 1]


@pytest.mark.parametrize("label", ["", None, 3])
def test_a_label_must_be_a_text(pool: PoolStore, label: str) -> None:
    with pytest.raises(InputError, match="expected the name of a class"):
        pool.annotate([Annotation(0, label)], allow_unasked=True)


def test_annotations_read_back_with_time_and_round_stamped(pool: PoolStore) -> None:
    given = Annotation(2, "a", "ann", "2024-01-02T03:04:05+00:00", 1.5, None, "web")
    pool.annotate([given, Annotation(2, "b")], allow_unasked=True)
    first, second = pool.annotations()
    assert (first.index, first.label, first.annotator, first.time) == (2, "a", "ann", given.time)
    assert (first.seconds, first.round, first.source) == (1.5, 1, "web")
    assert second.time.startswith("20")
    assert second.time.endswith("+00:00")


def test_numpy_numbers_and_paths_are_taken(pool: PoolStore) -> None:
    pool.annotate([Annotation(np.int64(2), "a", seconds=np.float32(1.5))], allow_unasked=True)  # type: ignore[arg-type]
    assert (pool.annotations()[0].index, pool.annotations()[0].seconds) == (2, 1.5)
    pool.append_items([Item(0, "x", metadata={"size": np.int64(3), "from": Path("a/b")})])
    assert pool.item(30).metadata == {"size": 3, "from": "a/b"}


def test_text_that_is_not_unicode_is_refused(pool: PoolStore) -> None:
    with pytest.raises(InputError, match="not valid Unicode"):
        pool.annotate([Annotation(2, "a\udcff")], allow_unasked=True)
    with pytest.raises(InputError, match="not valid Unicode"):
        pool.append_items([Item(0, "a\udcff")])
    assert (pool.n_items, pool.annotations()) == (30, [])


def test_nothing_in_the_ledger_can_be_changed(pool: PoolStore) -> None:
    pool.ask(pick(1))
    pool.annotate([Annotation(1, "a")])
    connection = sqlite3.connect(pool.path / "ledger.sqlite")
    for sql in (
        "DELETE FROM annotations",
        "UPDATE annotations SET answer = 5",
        "DELETE FROM asked",
        "DELETE FROM items",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(sql)
    connection.close()


def brute_force_state(events: list[tuple[str, int, int]], n: int, before: int) -> tuple[list[int], list[int]]:
    """Labels and unlabeled items from a list of (what, item, value) in time order, up to the mark of round `before`."""
    labels, asked = [-1] * n, [False] * n
    answered = [False] * n
    for what, item, value in events:
        if what == "round" and value == before - 1:
            break
        if what == "ask":
            asked[item] = True
        if what == "release":
            asked[item] = False
        if what == "answer":
            labels[item], answered[item] = value, True
    return labels, [i for i in range(n) if not answered[i] and not asked[i]]


@pytest.mark.parametrize("seed", range(5))
def test_state_as_of_any_round_equals_a_replay_of_the_events(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = PoolStore.create(tmp_path / "p", some_items(40), classes=["a", "b"], source={})
    events: list[tuple[str, int, int]] = [("round", 0, 0)]
    for number in range(1, 5):
        for _ in range(3):
            batch = pool.ask(take(3))
            events += [("ask", i, 0) for i in batch.selection.indices.tolist()]
            for i in rng.permutation(batch.selection.indices)[: rng.integers(4)].tolist():
                label = int(rng.integers(2))
                pool.annotate([Annotation(i, "ab"[label])])
                events.append(("answer", i, label))
            if rng.random() < 0.4:
                events += [("release", i, 0) for i in pool.release(batch.number).tolist()]
        pool.record_round({}, number=number)
        events.append(("round", 0, number))
    for reader in (pool, PoolStore.open(pool.path)):
        for number in range(1, 6):
            state = reader.state(as_of=number)
            labels, unlabeled = brute_force_state(events, 40, number)
            assert state.labels.tolist() == labels
            assert state.unlabeled.tolist() == unlabeled
            assert state.labeled.tolist() == [i for i in range(40) if labels[i] >= 0]
        assert np.array_equal(reader.state().labels, reader.state(as_of=5).labels)
    with pytest.raises(InputError, match="between 1 and 5"):
        pool.state(as_of=6)


def test_items_added_later_are_not_in_an_earlier_state(pool: PoolStore) -> None:
    pool.record_round({})
    pool.append_items(some_items(5, first=30))
    pool.record_round({})
    assert [len(pool.state(as_of=number).labels) for number in (1, 2, 3)] == [30, 30, 35]


# --- batches --------------------------------------------------------------------------------------------------


def test_a_recorded_batch_reads_back_exactly(pool: PoolStore) -> None:
    asked = pool.ask(take(4))
    again = PoolStore.open(pool.path).batch(1)
    for batch in (asked, again):
        expected = take(4)(PoolState(np.arange(0), np.arange(30), np.arange(0)), batch_seed(7, 1))
        got = batch.selection
        assert got.indices.tolist() == expected.indices.tolist()
        assert got.scores is not None
        assert got.scores.dtype == np.float32
        assert got.scores.tolist() == expected.scores.tolist()  # type: ignore[union-attr]
        assert {k: v.tolist() for k, v in got.components.items()} == {
            k: v.tolist() for k, v in expected.components.items()
        }
        assert got.components["why"].dtype == bool
        assert (got.strategy, got.options, got.seed, got.notes) == ("random", {"k": 1}, batch_seed(7, 1), {"a": 1.5})
        assert got.item_ids == tuple(f"item-{i}" for i in got.indices.tolist())
        assert batch.unanswered.tolist() == got.indices.tolist()
        assert (batch.number, batch.round, batch.is_open) == (1, 1, True)


def test_values_that_are_not_finite_read_back(pool: PoolStore) -> None:
    odd = np.array([np.nan, np.inf, -np.inf], dtype=np.float32)
    pool.ask(lambda state, seed: Selection(np.arange(3), odd, "odd", {}, seed, 0.0, {"x": odd}, {"nan": float("nan")}))
    selection = pool.batch(1).selection
    assert np.array_equal(selection.scores, odd, equal_nan=True)  # type: ignore[arg-type]
    assert np.array_equal(selection.components["x"], odd, equal_nan=True)


def test_unanswered_items_stay_asked_until_they_are_released(pool: PoolStore) -> None:
    pool.ask(pick(4, 2, 9))
    pool.annotate([Annotation(2, "a")])
    assert pool.batch(1).unanswered.tolist() == [4, 9]  # in order of choice
    assert pool.release(1).tolist() == [4, 9]
    assert pool.release(1).tolist() == []
    assert {4, 9} <= set(pool.state().unlabeled.tolist())
    assert pool.batches(open_only=True) == []
    assert pool.batch(1).released
    pool.ask(pick(9))
    pool.release(1)
    assert 9 not in pool.state().unlabeled  # the second batch holds it


def test_the_oldest_open_batch_comes_first(pool: PoolStore) -> None:
    for index in (3, 1, 2):
        pool.ask(pick(index))
    pool.annotate([Annotation(3, "a")])
    assert [batch.number for batch in pool.batches()] == [1, 2, 3]
    assert [batch.number for batch in pool.batches(open_only=True)] == [2, 3]
    oldest = pool.open_batch()
    assert oldest is not None
    assert oldest.number == 2


def test_a_key_makes_asking_repeatable(pool: PoolStore) -> None:
    first = pool.ask(take(3), key="run-1/round-1")
    again = pool.ask(take(3), key="run-1/round-1")
    assert again.number == first.number
    assert again.selection.indices.tolist() == first.selection.indices.tolist()
    assert pool.ask(take(3), key="run-1/round-2").number == 2


def test_each_batch_has_a_seed_of_its_own_that_follows_from_the_pools(pool: PoolStore, tmp_path: Path) -> None:
    twin = PoolStore.create(tmp_path / "twin", some_items(30), source={}, seed=7)
    other = PoolStore.create(tmp_path / "other", some_items(30), source={}, seed=8)
    seeds = [[p.ask(take(1)).selection.seed for _ in range(3)] for p in (pool, twin, other)]
    assert seeds[0] == seeds[1]
    assert len({*seeds[0], *seeds[2]}) == 6
    assert pool.ask(take(1), seed=8).selection.seed == other.ask(take(1)).selection.seed


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (pick(), "no item"),
        (pick(1, 1), "twice"),
        (pick(1, 5), r"item 5, which cannot be asked \(1 such"),
        (pick(99), "item 99"),
    ],
)
def test_a_wrong_batch_is_refused_and_not_recorded(pool: PoolStore, choose: Choose, message: str) -> None:
    pool.annotate([Annotation(5, "a")], allow_unasked=True)
    with pytest.raises(InputError, match=message):
        pool.ask(choose)
    assert pool.batches() == []


def test_an_unknown_batch_is_named_with_those_there_are(pool: PoolStore) -> None:
    with pytest.raises(UnknownNameError, match="no batch 3; none was asked yet"):
        pool.batch(3)
    pool.ask(pick(0))
    with pytest.raises(UnknownNameError, match="no batch 3; it has 1 to 1"):
        pool.release(3)


def test_picks_taken_while_choosing_are_chosen_again(pool: PoolStore) -> None:
    states: list[PoolState] = []

    def slow(state: PoolState, seed: int) -> Selection:
        if not states:  # somebody else is faster, and a label comes in
            PoolStore.open(pool.path).ask(pick(0, 1))
            PoolStore.open(pool.path).annotate([Annotation(2, "a")], allow_unasked=True)
        states.append(state)
        return pick(*state.unlabeled[:2].tolist())(state, seed)

    assert pool.ask(slow).selection.indices.tolist() == [3, 4]
    assert [len(state.unlabeled) for state in states] == [30, 27]


def test_other_entries_while_choosing_do_not_make_it_choose_again(pool: PoolStore) -> None:
    calls: list[int] = []

    def slow(state: PoolState, seed: int) -> Selection:
        calls.append(1)
        PoolStore.open(pool.path).ask(pick(20))
        return pick(0, 1)(state, seed)

    assert pool.ask(slow).number == 2
    assert len(calls) == 1


def ask_many(path: Path, n_batches: int) -> None:
    pool = PoolStore.open(path)
    for _ in range(n_batches):
        pool.ask(take(5))


def test_two_processes_querying_at_once_never_get_the_same_item(tmp_path: Path) -> None:
    PoolStore.create(tmp_path / "p", some_items(400), source={}).close()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=ask_many, args=(tmp_path / "p", 20)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    batches = PoolStore.open(tmp_path / "p").batches()
    picks = list(itertools.chain.from_iterable(batch.selection.indices.tolist() for batch in batches))
    assert len(batches) == 40
    assert len(set(picks)) == len(picks) == 200


@pytest.mark.parametrize("shared", [True, False])
def test_four_threads_querying_and_labeling_at_once_never_get_the_same_item(tmp_path: Path, shared: bool) -> None:
    pool = PoolStore.create(tmp_path / "p", some_items(400), source={})
    errors: list[BaseException] = []

    def work() -> None:
        try:
            mine = pool if shared else PoolStore.open(pool.path)
            for _ in range(8):
                batch = mine.ask(take(5))
                mine.annotate([Annotation(i, "a") for i in batch.selection.indices.tolist()])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    picks = [i for batch in pool.batches() for i in batch.selection.indices.tolist()]
    assert len(set(picks)) == len(picks) == 160
    assert pool.state().labeled.tolist() == sorted(picks)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_pool_works_on_both_sides_of_a_fork(pool: PoolStore) -> None:
    pool.annotate([Annotation(0, "a")], allow_unasked=True)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            pool.annotate([Annotation(1, "b")], allow_unasked=True)
            code = 0 if pool.state().labeled.tolist() == [0, 1] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    pool.annotate([Annotation(2, "a")], allow_unasked=True)
    assert pool.state().labeled.tolist() == [0, 1, 2]


# --- rounds, settings -----------------------------------------------------------------------------------------


def test_rounds_are_numbered_from_the_last_sealed_one(pool: PoolStore) -> None:
    batch = pool.ask(take(3))
    pool.annotate([Annotation(i, "a") for i in batch.selection.indices.tolist()])
    assert pool.current_round == 1
    sealed = pool.record_round({"accuracy": 0.1 + 0.2, "loss": float("inf")}, digest="abc", budget_left=5, number=1)
    assert pool.current_round == 2
    assert (sealed.number, sealed.n_labeled, sealed.budget_left, sealed.digest) == (1, 3, 5, "abc")
    assert sealed.metrics == {"accuracy": 0.1 + 0.2, "loss": float("inf")}
    assert sealed.selection is not None
    assert sealed.selection.indices.tolist() == batch.selection.indices.tolist()
    assert pool.record_round({}).selection is None
    assert [r.number for r in PoolStore.open(pool.path).rounds()] == [1, 2]


def test_a_round_is_sealed_once(pool: PoolStore) -> None:
    pool.record_round({}, number=1)
    with pytest.raises(StoreError, match=r"cannot seal round 1 .*round 2 is under way"):
        pool.record_round({}, number=1)


def test_settings_are_kept_by_name(pool: PoolStore) -> None:
    pool.settings["target"] = {"column": "label", "n": np.int64(3)}
    pool.settings["b"] = 1
    pool.settings["b"] = 2
    again = PoolStore.open(pool.path).settings
    assert dict(again) == {"b": 2, "target": {"column": "label", "n": 3}}
    assert again.get("none") is None
    assert len(again) == 2
    del again["b"]
    assert "b" not in pool.settings
    with pytest.raises(KeyError):
        del again["b"]


# --- size -----------------------------------------------------------------------------------------------------


def test_opening_and_reading_the_state_does_not_grow_with_the_answers_seen(tmp_path: Path) -> None:
    pool = PoolStore.create(tmp_path / "p", some_items(20_000), source={})
    pool.annotate([Annotation(i, "a") for i in range(20_000)], allow_unasked=True)
    pool.state()
    start = time.process_time()
    for _ in range(20):
        pool.state()
    again = time.process_time() - start
    start = time.process_time()
    PoolStore.open(pool.path).state()
    assert again / 20 < time.process_time() - start  # reads nothing twice


@pytest.mark.scale
def test_a_million_items_take_seconds(tmp_path: Path) -> None:
    start = time.process_time()
    pool = PoolStore.create(
        tmp_path / "p", (Item(0, f"img/{i * 7919 % 1000003:07d}.jpg") for i in range(10**6)), source={}
    )
    assert time.process_time() - start < 30
    start = time.process_time()
    assert len(pool.state().unlabeled) == 10**6
    assert time.process_time() - start < 1
    pool.annotate([Annotation(i, "a") for i in range(10**6)], allow_unasked=True)
    again = PoolStore.open(pool.path)
    start = time.process_time()
    assert len(again.state().labeled) == 10**6
    assert time.process_time() - start < 3
