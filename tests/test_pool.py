"""What a user does with a pool in Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import BudgetError, InputError, OptionError, ShapeError, UnknownNameError


def blobs(n: int = 300, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Well separated groups of points and their class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    return (8 * np.eye(classes)[y] + rng.normal(size=(n, classes))).astype(np.float32), y


@pytest.fixture
def pool(tmp_path):
    return pw.Pool.create(tmp_path / "x.pool", embeddings=blobs()[0])


def truth() -> dict[str, str]:
    return {str(i): f"class {c}" for i, c in enumerate(blobs()[1])}


def test_the_default_strategy_needs_no_labels_and_finds_every_group(pool):
    batch = pool.query(batch_size=3)
    assert batch.strategy == "auto"
    assert sorted(blobs()[1][batch.indices]) == [0, 1, 2]


def test_labels_are_names_and_numbers_stand_for_known_classes(pool):
    batch = pool.query("random", batch_size=4)
    assert pool.label(batch.indices[:2], ["cat", "dog"]) == 2
    assert pool.label(batch.indices[2:], [1, 0]) == 2
    state = pool.state()
    assert pool.classes == ["cat", "dog"]
    assert state.labels[batch.indices].tolist() == [0, 1, 1, 0]


def test_spaces_around_the_labels_of_a_file_make_no_classes_of_their_own(pool, tmp_path):
    labels = tmp_path / "l.csv"
    labels.write_text("item_id,label\r\n0, cat\r\n1,cat\u00a0\r\n2,  \r\n3,dog\r\n")
    assert pool.import_labels(labels, allow_unasked=True) == 3
    assert pool.classes == ["cat", "dog"]
    assert pool.state().labels[:4].tolist() == [0, 0, -1, 1]


def test_a_class_that_is_written_with_spaces_keeps_them(tmp_path):
    pool = pw.Pool.create(tmp_path / "y.pool", embeddings=blobs()[0], classes=[" a", "b"])
    (tmp_path / "l.csv").write_text("item_id,label\n0, a\n1, b\n")
    pool.import_labels(tmp_path / "l.csv", allow_unasked=True)
    assert pool.state().labels[:2].tolist() == [0, 1]


def test_a_class_number_that_does_not_exist_is_refused(pool):
    batch = pool.query("random", batch_size=2)
    pool.label(batch.indices[:1], ["cat"])
    with pytest.raises(UnknownNameError, match="class number 7"):
        pool.label(batch.indices[1:], [7])


def test_one_answer_for_each_item(pool):
    batch = pool.query("random", batch_size=3)
    with pytest.raises(ShapeError, match="2 answers for 3 items"):
        pool.label(batch.indices, ["a", "b"])
    assert len(pool.state().labeled) == 0


def test_the_same_pool_gives_the_same_batches(tmp_path):
    batches = []
    for name in ("a", "b"):
        made = pw.Pool.create(tmp_path / name, embeddings=blobs()[0], seed=5)
        made.run("margin", batch_size=10, budget=30, oracle=truth())
        batches.append([b.selection.indices.tolist() for b in made.store.batches()])
    assert batches[0] == batches[1]
    assert len(batches[0]) == 3


def test_a_run_stopped_anywhere_continues_to_the_same_end(tmp_path):
    script = (
        "import sys, numpy as np, poolwise as pw\n"
        "sys.path.insert(0, sys.argv[3])\n"
        "from tests.test_pool import blobs, truth\n"
        "from poolwise.store.pool import PoolStore\n"
        "steps = int(sys.argv[2])\n"
        "def count(original):\n"
        "    def stop_after(self, *a, **k):\n"
        "        global steps\n"
        "        out = original(self, *a, **k)\n"
        "        steps -= 1\n"
        "        if steps == 0:\n"
        "            import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return out\n"
        "    return stop_after\n"
        "for verb in ('ask', 'annotate', 'record_round'):\n"
        "    setattr(PoolStore, verb, count(getattr(PoolStore, verb)))\n"
        "pw.Pool.open(sys.argv[1]).run('badge', batch_size=10, budget=40, oracle=truth())\n"
    )
    whole = pw.Pool.create(tmp_path / "whole", embeddings=blobs()[0])
    whole.run("badge", batch_size=10, budget=40, oracle=truth())
    broken = pw.Pool.create(tmp_path / "broken", embeddings=blobs()[0])
    root = str(pw.__file__).split("/src/")[0]
    for steps in (1, 2, 3, 2, 1):
        answer = subprocess.run([sys.executable, "-c", script, str(broken.path), str(steps), root], check=False)
        assert answer.returncode == -9
    broken.run("badge", batch_size=10, budget=40, oracle=truth())
    assert np.array_equal(broken.state().labels, whole.state().labels)
    assert (
        [r.n_labeled for r in broken.store.rounds()] == [r.n_labeled for r in whole.store.rounds()] == [10, 20, 30, 40]
    )


def test_held_out_items_are_never_asked_for(pool):
    pool.run("random", batch_size=60, budget=10_000, oracle=truth(), held_out=0.25)
    held_out = pool.store.settings["held_out"]["indices"]
    assert len(held_out) == 75
    assert not set(held_out) & set(pool.state().labeled.tolist())
    assert len(pool.state().labeled) == 225
    assert pool.history()[-1]["accuracy"] > 0.95


def test_any_scikit_learn_classifier_can_be_the_model(pool):
    from sklearn.ensemble import RandomForestClassifier

    pool.run("random", batch_size=30, budget=30, oracle=truth())
    fitted = pool.fit(RandomForestClassifier(20))
    assert fitted.metrics["accuracy"] > 0.9
    assert len(pool.query("entropy", batch_size=5)) == 5
    with pytest.raises(pw.PoolwiseError, match="head_weight"):
        pool.query("mase", batch_size=5)


def test_rows_can_be_added_and_only_then_asked_for(pool):
    assert pool.add(embeddings=blobs(40, seed=1)[0]) == 40
    assert pool.n_items == 340
    assert pool.query("coreset", batch_size=340).indices.max() == 339


def test_rows_that_do_not_fit_the_pool_leave_it_as_it_was(pool):
    holed = blobs(20, seed=1)[0]
    holed[7, 1] = np.nan
    for rows, error in ((np.ones((5, 2), np.float32), ShapeError), (holed, InputError)):
        with pytest.raises(error):
            pool.add(embeddings=rows)
        assert pool.n_items == 300
        assert len(pool.query("coreset", batch_size=2)) == 2


def test_labels_of_no_declared_class_leave_the_pool_as_it_was(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("id,body,kind\na,x y,cat\nb,x z,dog\n")
    columns = {"table": table, "text": "body", "id_column": "id"}
    pool = pw.Pool.create(tmp_path / "t.pool", classes=["cat", "dog"], **columns, label_column="kind")
    table.write_text("id,body,kind\nc,v w,cat\nd,u v,cow\ne,u z,\n")
    with pytest.raises(UnknownNameError, match="no class named 'cow'"):
        pool.add(**columns, label_column="kind")
    assert pool.n_items == 2
    table.write_text("id,body,kind\nb,x z,cow\nc,v w,cat\nd,u v,dog\ne,u z,\n")  # b is there: its label is not read
    assert pool.add(**columns, label_column="kind") == 3
    assert pool.state().labels.tolist() == [0, 1, 0, 1, -1]


def test_added_rows_are_kept_in_the_type_of_the_pool(pool, tmp_path):
    assert pool.add(embeddings=blobs(20, seed=1)[0].astype(np.float16)) == 20
    assert len(pool.query("coreset", batch_size=320)) == 320
    half = pw.Pool.create(tmp_path / "half.pool", embeddings=blobs(20)[0].astype(np.float16))
    assert half.add(embeddings=blobs(20, seed=1)[0]) == 20
    with pytest.raises(InputError, match="float16"):
        half.add(embeddings=np.full((1, 3), 1e6, np.float32))
    assert half.n_items == 40


def test_asking_for_more_than_there_is_says_how_many_wait(pool):
    pool.query("random", batch_size=299)
    with pytest.raises(BudgetError, match=r"between 1 and 1 .*299 asked items still wait"):
        pool.query("random", batch_size=2)


def test_labels_of_a_label_column_count_as_given(tmp_path):
    (tmp_path / "t.csv").write_text(
        "body,mood\n" + "".join(f"text number {i},{'good' if i < 3 else ''}\n" for i in range(9))
    )
    made = pw.Pool.create(tmp_path / "t.pool", table=tmp_path / "t.csv", text="body", label_column="mood")
    assert made.state().labeled.tolist() == [0, 1, 2]
    assert made.classes == ["good"]


def test_class_folders_are_no_labels(tmp_path):
    from PIL import Image

    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), "red" if name == "cat" else "blue").save(tmp_path / "photos" / name / "1.png")
    made = pw.Pool.create(tmp_path / "p", images=tmp_path / "photos")
    assert len(made.state().labeled) == 0
    assert made.classes == []


def test_a_simulation_without_known_labels_says_what_to_give(pool):
    with pytest.raises(InputError, match=r"--oracle labels.csv"):
        pool.run("random", batch_size=5, budget=10, oracle="source")


def test_an_oracle_strategy_is_refused_on_a_pool(pool):
    with pytest.raises(InputError, match="only in benchmarks"):
        pool.query("balanced_random", batch_size=5)


def test_an_export_needs_a_format_it_knows(pool, tmp_path):
    with pytest.raises(InputError, match=r"\.csv"):
        pool.export(tmp_path / "labels.doc")
    batch = pool.query("random", batch_size=2)
    pool.label(batch.indices, ["a", "b"])
    text = pool.export(tmp_path / "labels.csv").read_text()
    assert text.splitlines()[0].startswith("item_id,label")
    assert len(text.splitlines()) == 3


def test_the_answer_not_of_interest_teaches_the_gate(tmp_path):
    rng = np.random.default_rng(0)
    truth = np.arange(240) % 3
    x = rng.normal(size=(240, 4)).astype(np.float32) + 6 * np.eye(4, dtype=np.float32)[truth]
    pool = pw.Pool.create(tmp_path / "open.pool", embeddings=x, classes=["a", "b"])
    names = np.array(["a", "b", pw.NOT_OF_INTEREST])[truth]
    first = pool.query("random", batch_size=60)
    pool.label(first.indices, names[first.indices])
    state = pool.state()
    assert state.rejected.tolist() == sorted(first.indices[truth[first.indices] == 2].tolist())
    plain = pool.query("random", batch_size=40, ood="answers", seed=1)
    assert (truth[plain.indices] == 2).sum() <= 2
    assert plain.notes["ood"] == "answers" and plain.notes["flagged"] >= 50
    assert not np.isin(plain.indices, state.rejected).any()


@pytest.mark.parametrize("strategy", ["coreset", "margin", "base", "badge"])
def test_several_workers_ask_for_the_same_batch(tmp_path: Path, strategy: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 8)).astype(np.float32)
    batches = []
    for workers in (1, 3):
        pool = pw.Pool.create(tmp_path / f"{workers}.pool", embeddings=x, classes=["a", "b"])
        first = pool.query("random", batch_size=20)
        pool.label(first.indices, np.where(x[first.indices, 0] > 0, "a", "b"))
        batches.append(pool.query(strategy, batch_size=30, workers=workers))
    assert batches[0].indices.tolist() == batches[1].indices.tolist()
    assert batches[1].notes["workers"] == 3


@pytest.mark.parametrize(
    ("strategy", "options", "priced"),
    [("coreset", {"within": "random"}, False), ("kmeans", {}, False), ("coreset", {}, True)],
)
def test_what_acts_on_the_whole_pool_is_done_by_one_of_several_workers(
    tmp_path: Path, strategy: str, options: dict[str, str], priced: bool
) -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    batches = []
    for workers in (1, 2):
        pool = pw.Pool.create(tmp_path / f"{workers}.pool", embeddings=x)
        if priced:
            pool.set_costs(np.arange(1.0, 51.0))
        batches.append(pool.query(strategy, batch_size=5, workers=workers, **options))
    assert batches[0].indices.tolist() == batches[1].indices.tolist()
    assert batches[1].notes["workers"] == 1


def test_an_address_without_ray_is_refused(tmp_path: Path) -> None:
    pool = pw.Pool.create(tmp_path / "a.pool", embeddings=np.random.default_rng(0).normal(size=(50, 3)))
    with pytest.raises(OptionError, match="address 'there:1' is for engine 'ray'"):
        pool.query("coreset", batch_size=5, address="there:1")


@pytest.mark.parametrize("answer", [None, float("nan"), "", "  "])
def test_an_empty_answer_makes_no_class(pool, answer):
    batch = pool.query("random", batch_size=2)
    with pytest.raises(InputError, match="is no answer"):
        pool.label(batch.indices, ["a", answer])
    assert pool.classes == []
    assert pool.status().n_labeled == 0


@pytest.mark.parametrize("audit", [None, 0.2])
@pytest.mark.parametrize("size", [2.5, "2", True, None])
def test_a_batch_size_that_is_no_whole_number_is_refused_with_and_without_an_audit(pool, size, audit):
    with pytest.raises(OptionError, match="batch_size must be a whole number"):
        pool.query("random", batch_size=size, audit=audit)


@pytest.mark.parametrize("wish", [{"target": 90}, {"worth": -0.1}])
def test_wishes_of_an_audit_are_shares(pool, wish):
    with pytest.raises(OptionError, match="share between 0 and 1"):
        pool.audit(**wish)
