"""The audit of a pool: what it says, what it refuses to say, and hostile pools."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from poolwise.audit import Audit, GroupShare
from poolwise.audit.record import audit_from_dict, stored
from poolwise.audit.rules import Wishes, stopping_rules
from poolwise.errors import BudgetError
from poolwise.pool import Pool
from poolwise.report.build_pool import describe_pool
from poolwise.report.html import percent
from poolwise.stats.intervals import Interval
from poolwise.types import SKIP


def make_pool(path, n=600, spread=1.0, classes=3):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(n, 8)).astype(np.float32)
    x[np.arange(n), np.arange(n) % classes] += 2 * spread
    return Pool.create(path, embeddings=x)


def rounds(pool, count, batch_size=60, audit=0.3, answer=lambda i: f"c{i % 3}", strategy="margin"):
    for _ in range(count):
        batch = pool.query(strategy if pool.can_fit() else "random", batch_size=batch_size, audit=audit)
        pool.label(batch.indices, [answer(i) for i in batch.indices.tolist()])


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    pool = make_pool(tmp_path_factory.mktemp("a") / "p")
    rounds(pool, 5)
    return pool


def test_the_first_sentence_has_labels_accuracy_and_interval(audited):
    found = audited.audit()
    a = found.accuracy
    assert found.sentences()[0].startswith(
        f"After 300 labels accuracy is {100 * a.mean:.1f} % ({100 * a.low:.1f}-{100 * a.high:.1f})."
    )
    assert (found.n_trained, found.n_audit, found.look) == (210, 90, 5)


def test_accuracy_is_that_of_the_models_own_answers(audited):
    """Recomputed from the pool's own rows, with an explicit loop."""
    model = audited.fit().model
    x = audited.store.arrays.read("embeddings@given", audited.n_items)
    right = total = 0
    for batch in audited.store.batches():
        for i in batch.selection.indices[np.asarray(batch.selection.components["audit"], bool)].tolist():
            right += int(model.probs(np.asarray(x[[i]]))[0].argmax() == audited.classes.index(f"c{i % 3}"))
            total += 1
    found = audited.audit().accuracy
    assert (found.n, found.mean) == (total, pytest.approx(right / total))


def test_it_is_the_same_again_and_read_back_from_disk(audited):
    first = audited.audit()
    assert Pool.open(audited.path).audit() == first
    (audited.path / "audit.json").unlink()
    assert audited.audit() == first
    (audited.path / "audit.json").write_text('{"key": 3')
    assert audited.audit() == first


def test_the_machine_form_is_strict_json(audited):
    record = json.loads(json.dumps(audited.audit().to_dict(), allow_nan=False))
    assert record["n_labels"] == 300
    assert record["accuracy"]["low"] < record["accuracy"]["high"]
    assert {"curve", "random_curve", "random_needs", "gain", "benefit", "rules", "saved"} <= set(record)


def test_four_rules_speak_and_none_without_the_users_wish(audited):
    plain = audited.audit()
    assert [rule.stop for rule in plain.rules][1:3] == [None, None]
    wished = audited.audit(target=0.2, worth=0.99)
    assert [rule.stop for rule in wished.rules][1:3] == [True, True]
    assert audited.audit(target=1.0).rules[1].stop is False


def test_a_new_label_makes_a_new_audit(tmp_path):
    pool = make_pool(tmp_path / "p")
    rounds(pool, 2)
    before = pool.audit()
    rounds(pool, 1)
    assert pool.audit().n_labels == before.n_labels + 60


def test_without_audit_items_it_says_how_to_get_some(tmp_path):
    pool = make_pool(tmp_path / "p")
    assert "--audit 0.05" in pool.audit().text()
    assert pool.audit().accuracy is None
    pool.query("random", batch_size=50, audit=0.1)
    assert "wait" in pool.audit().text()


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_status_and_report_carry_the_sentence(tmp_path, spread):
    pool = make_pool(tmp_path / "p", n=300, spread=spread)
    rounds(pool, 3, batch_size=40, audit=0.4)
    sentence = pool.audit().headline()
    assert sentence in pool.status().text()
    assert pool.status().to_dict()["audit"]["n_audit"] == 48
    page = pool.report().read_text(encoding="utf-8")
    assert sentence in page
    assert '<section id="audit">' in page
    (tile,) = [fact for fact in describe_pool(pool.store, audit=pool.audit()).facts if fact.name == "Accuracy"]
    assert tile.value == percent(pool.audit().accuracy.mean)  # not that of the last sealed round


def test_random_labels_are_no_benefit_and_none_is_claimed(tmp_path):
    """The strategy is random itself: an interval that excludes zero in any of ten pools would be bad luck."""
    for seed in range(10):
        pool = Pool.create(tmp_path / str(seed), embeddings=blobs(seed), seed=seed)
        rounds(pool, 2, batch_size=80, audit=0.5, strategy="random")
        found = pool.audit()
        assert found.saved is None
        assert found.benefit.low <= 0 <= found.benefit.high


def blobs(seed, n=500):
    x = np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)
    x[np.arange(n), np.arange(n) % 3] += 1.5
    return x


# --- hostile pools --------------------------------------------------------------------------------------------


def test_one_class(tmp_path):
    pool = make_pool(tmp_path / "p")
    rounds(pool, 2, answer=lambda i: "only")
    assert "two classes" in pool.audit().text()
    assert pool.status().text()


def test_all_audit_items_of_one_class(tmp_path):
    pool = make_pool(tmp_path / "p")
    for _ in range(3):
        batch = pool.query("random", batch_size=60, audit=0.3)
        marks = np.asarray(batch.components["audit"], bool)
        names = ["c0" if mark else f"c{i % 3}" for i, mark in zip(batch.indices.tolist(), marks, strict=True)]
        pool.label(batch.indices, names)
    found = pool.audit()
    assert found.random_needs is None and found.benefit is None
    assert "one class" in found.text()


def test_every_audit_answer_skipped(tmp_path):
    pool = make_pool(tmp_path / "p")
    for _ in range(2):
        batch = pool.query("random", batch_size=60, audit=0.3)
        marks = np.asarray(batch.components["audit"], bool)
        names = [SKIP if mark else f"c{i % 3}" for i, mark in zip(batch.indices.tolist(), marks, strict=True)]
        pool.label(batch.indices, names)
    found = pool.audit()
    assert (found.n_audit, found.n_skipped) == (0, 36)
    assert "36 audit items were skipped" in found.text()


def test_a_handful_of_audit_items_gives_an_interval_and_a_reason(tmp_path):
    pool = make_pool(tmp_path / "p")
    rounds(pool, 1, batch_size=20, audit=0.05, strategy="random")
    found = pool.audit()
    assert found.accuracy.high - found.accuracy.low > 0.5
    assert found.random_needs is None
    assert "there are 5" in found.text()


def test_a_corrected_audit_label_changes_the_audit(tmp_path):
    pool = make_pool(tmp_path / "p", spread=3)
    rounds(pool, 2)
    before = pool.audit().accuracy.mean
    batch = pool.store.batch(1).selection
    item = int(batch.indices[np.asarray(batch.components["audit"], bool)][0])
    pool.label([item], [f"c{(item + 1) % 3}"])
    assert pool.audit().accuracy.mean == pytest.approx(before - 1 / 36)


def test_items_added_in_mid_run_are_audited_too(tmp_path):
    pool = make_pool(tmp_path / "p", n=400)
    rounds(pool, 2, batch_size=50)
    pool.add(embeddings=blobs(1, 400)[:, [0, 1, 2, 3, 4, 5, 5, 5]])
    rounds(pool, 4, batch_size=50)
    judged = np.concatenate(
        [b.selection.indices[np.asarray(b.selection.components["audit"], bool)] for b in pool.store.batches()]
    )
    assert 0.3 < (judged >= 400).mean() < 0.7
    assert pool.audit().n_audit == 90


def test_a_read_only_pool_is_audited_without_a_cache(audited, monkeypatch):
    (audited.path / "audit.json").unlink(missing_ok=True)
    monkeypatch.setattr(type(audited.store), "writable", property(lambda self: False))
    assert audited.audit().n_audit == 90
    assert not (audited.path / "audit.json").exists()


def test_a_perfect_and_a_hopeless_model_prove_no_saving(tmp_path):
    """All models agree on every item: what was not seen is still possible."""
    x = np.zeros((400, 4), dtype=np.float32)
    x[np.arange(400), np.arange(400) % 3] = 20
    perfect = Pool.create(tmp_path / "perfect", embeddings=x + np.random.default_rng(0).normal(size=x.shape) * 0.01)
    rounds(perfect, 4, batch_size=50, audit=0.4)
    hopeless = Pool.create(tmp_path / "hopeless", embeddings=x)
    rounds(hopeless, 1, batch_size=100, audit=0.5, answer=lambda i: f"own class {i}")
    for pool in (perfect, hopeless):
        found = pool.audit(worth=0.01)
        assert found.saved is None
        assert found.benefit.low < -0.03
        assert found.benefit.high > 0.03
        assert "cannot be said yet" in found.headline()
    assert perfect.audit().accuracy.mean == 1
    assert perfect.audit(worth=0.01).rules[2].stop is False


def test_items_that_all_joined_training_judge_no_more(tmp_path):
    pool = make_pool(tmp_path / "p")
    for _ in range(2):
        batch = pool.query("random", batch_size=50, audit=0.4, audit_train=1)
        pool.label(batch.indices, [f"c{i % 3}" for i in batch.indices.tolist()])
        pool.fit()
    assert "are trained on" in pool.audit().text()
    assert pool.audit().n_trained == 100


# --- words ----------------------------------------------------------------------------------------------------


def record(low, mean, high):
    return Audit(
        n_trained=1000,
        n_audit=200,
        n_skipped=0,
        n_waiting=0,
        look=4,
        accuracy=Interval(0.871, 0.85, 0.89, 0.95, 200),
        random_needs=Interval(mean, low, high, 0.99, 200),
    )


def test_a_proved_saving_is_said_as_in_the_readme():
    found = record(1600, 1900, 2400)
    assert found.headline() == (
        "After 1,200 labels accuracy is 87.1 % (85.0-89.0). "
        "Random labeling would have needed about 1,900 (1,600-2,400)."
    )
    assert (found.saved.low, found.saved.mean, found.saved.high) == (400, 700, 1200)


@pytest.mark.parametrize("low", [900.0, 1200.0])
def test_no_saving_is_claimed_when_the_interval_includes_zero(low):
    found = record(low, 1900, 2400)
    assert found.saved is None
    assert found.to_dict()["saved"] is None
    assert "cannot be said yet" in found.headline()


def test_without_an_upper_bound_only_the_lower_one_is_said():
    assert "at least 1,600, about 1,900." in record(1600, 1900, math.inf).headline()
    assert "at least 1,600." in record(1600, math.inf, math.inf).headline()
    assert "anything from 1,000 up is possible" in record(1000, math.inf, math.inf).headline()
    never = record(math.inf, math.inf, math.inf)
    assert never.headline().endswith("their learning curve levels off below this accuracy.")
    assert audit_from_dict(json.loads(json.dumps(stored(never), allow_nan=False))) == never


def test_a_loss_against_random_is_said_too():
    assert "switch to random" in record(500, 700, 900).headline()


def test_infinite_bounds_survive_the_way_to_disk():
    found = record(1600, 1900, math.inf)
    assert audit_from_dict(json.loads(json.dumps(stored(found), allow_nan=False))) == found


def test_sentences_end_without_a_blank_where_random_labels_are_unknown():
    assert (
        replace(record(1, 1, 1), random_needs=None).headline() == "After 1,200 labels accuracy is 87.1 % (85.0-89.0)."
    )


def test_rule_d_wants_three_slices_without_benefit():
    none, some = Interval(0.01, -0.01, 0.03, 0.95, 50), Interval(0.03, 0.01, 0.05, 0.95, 50)
    last = [stopping_rules(None, (), None, 0, gaps, Wishes())[3] for gaps in ([none] * 3, [none, some, none], [none])]
    assert ["consider random" in rule.says for rule in last] == [True, False, False]
    assert last[2].stop is None


def test_nothing_is_left_to_gain_where_no_item_is_left(tmp_path):
    pool = make_pool(tmp_path / "p", n=60)
    rounds(pool, 3, batch_size=20, audit=0.25)
    found = pool.audit()
    assert found.rules[2].stop is True and "no unlabeled item" in found.rules[2].says
    assert "No unlabeled item is left." in found.text() and "further batches" not in found.text()
    with pytest.raises(BudgetError, match=r"no item is left .* all 60 are labeled.*poolwise add"):
        pool.query("random", batch_size=1)


def test_rule_a_is_the_mean_of_three():
    rules = [stopping_rules(None, k, None, 0, (), Wishes())[0].stop for k in ((0.99, 0.99, 0.99), (1, 1, 0.96), (1,))]
    assert rules == [True, False, None]
    assert replace(record(1, 2, 3)).n_labels == 1200


def grouped_pool(tmp_path, wards):
    """Items of ward B are noise, so a model cannot be right about them."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(3)
    x = rng.normal(size=(600, 3)).astype(np.float32)
    good = np.array([ward != "B" for ward in wards])
    x[np.flatnonzero(good), np.flatnonzero(good) % 3] += 6
    frame = pd.DataFrame({f"x{k}": x[:, k] for k in range(3)}).assign(ward=wards)
    return Pool.create(tmp_path / "p", embeddings=frame, group_column="ward")


def test_accuracy_by_group_is_that_of_its_own_audit_items_the_worst_first(tmp_path):
    wards = [("A", "B", "")[i // 3 % 3] for i in range(600)]  # all classes in each
    pool = grouped_pool(tmp_path, wards)
    rounds(pool, 4, batch_size=100, audit=0.5)
    found = pool.audit()
    x = np.asarray(pool.store.arrays.read("embeddings@given", pool.n_items)[:])
    model = pool.fit().model
    hits: dict[str, list[int]] = {}
    for batch in pool.store.batches():
        for i in batch.selection.indices[np.asarray(batch.selection.components["audit"], bool)].tolist():
            guess = int(model.probs(x[[i]])[0].argmax())
            hits.setdefault(wards[i], []).append(int(guess == pool.classes.index(f"c{i % 3}")))
    assert {g.name: (g.accuracy.n, g.accuracy.mean) for g in found.groups} == {
        name: (len(right), pytest.approx(sum(right) / len(right))) for name, right in hits.items()
    }
    assert found.groups[0].name == "B"
    assert [g.accuracy.high for g in found.groups] == sorted(g.accuracy.high for g in found.groups)
    assert found.groups[0].accuracy.high < found.groups[-1].accuracy.low  # proved worse than another ward
    sentence = next(s for s in found.sentences() if s.startswith("By group: B "))
    assert "(no group) " in sentence
    assert sentence in pool.status().text()
    assert Pool.open(pool.path).audit() == found
    assert json.loads(json.dumps(found.to_dict()))["groups"][0]["accuracy"]["n"] == len(hits["B"])
    assert "<caption>Accuracy by group" in pool.report().read_text(encoding="utf-8")


def test_many_groups_are_named_shortly_and_listed_in_full(audited):
    groups = tuple(GroupShare(f"g{k}", Interval(0.5, 0.1, 0.9, 0.95, 4)) for k in range(5))
    found = replace(audited.audit(), groups=groups)
    sentence = next(s for s in found.sentences() if s.startswith("By group"))
    assert sentence.endswith("g2 50.0 % (10.0-90.0), and 2 more (`poolwise audit` lists them).")
    assert found.text().count("audit items: 4") == 5
    assert sentence not in found.text()


def test_a_pool_without_groups_or_with_one_says_nothing_of_groups(audited, tmp_path):
    assert audited.audit().groups == ()
    pool = grouped_pool(tmp_path, ["A"] * 600)
    rounds(pool, 2)
    assert pool.audit().groups == ()
    assert "By group" not in pool.audit().text()
