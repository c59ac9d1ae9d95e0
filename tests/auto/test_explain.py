"""Every batch that a choice among strategies made can be explained from the pool alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import poolwise as pw
from poolwise.auto.explain import explain, in_words, trusted
from poolwise.cli.main import app


@pytest.fixture
def pool(tmp_path: Path) -> pw.Pool:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 150)
    np.save(tmp_path / "x.npy", (3 * np.eye(3)[y] + rng.normal(size=(150, 3))).astype(np.float32))
    made = pw.Pool.create(tmp_path / "birds.pool", embeddings=tmp_path / "x.npy")
    for name, options in (
        ("auto", {}),
        ("auto", {}),
        ("margin", {}),
        ("autoal", {"candidates": ("margin", "coreset")}),
        ("albl", {"candidates": ("margin", "coreset")}),
        ("albl", {"candidates": ("margin", "coreset")}),
    ):
        batch = made.query(name, batch_size=12, **options)
        made.label(batch.indices, [f"class {c}" for c in y[batch.indices]])
    return made


def test_batches_tell_what_was_trusted_and_where_the_time_went(pool: pw.Pool) -> None:
    records = explain(pool.store)
    assert [record["strategy"] for record in records] == ["auto", "auto", "autoal", "albl", "albl"]
    for record in records:
        assert sum(record["trusted"].values()) == pytest.approx(1, abs=1e-3)
        assert record["seconds"]["total"] >= 0
    cold, warm = records[:2]
    assert cold["trusted"]["uncertainty"] == 0 < warm["trusted"]["uncertainty"]
    assert {"training", "scoring", "search"} <= set(warm["seconds"])
    assert set(records[2]["trusted"]) == {"margin", "coreset"}
    assert "reward" not in records[3]["notes"] and 0 <= records[4]["notes"]["reward"] <= 1
    assert "of the way from guessing to certainty is certain" in in_words(warm)
    assert "have the class of the nearest labeled one" in in_words(warm)
    assert "no item was ruled out" in in_words(cold) and "most uncertain items passed" in in_words(warm)


def test_every_choice_among_strategies_gives_a_reason_and_a_split_of_its_time(pool: pw.Pool) -> None:
    y = np.zeros(150, dtype=int)
    for name, says in (
        ("look", "loss in rehearsal after the choice of each"),
        ("tailor", "expected to bring the rarest classes"),
        ("selectal", "errors after removing"),
        ("refine", "items left by each filter: 63, "),
        ("budget_rule", "labels per class"),
        ("ensemble", "items were nominated"),
    ):
        batch = pool.query(name, batch_size=5)
        pool.label(batch.indices, [f"class {c}" for c in y[batch.indices]])
        told = in_words(explain(pool.store)[-1])
        assert re.search(says, told), told
    records = {record["strategy"]: record for record in explain(pool.store)}
    assert {"scoring", "search", "total"} <= records["look"]["seconds"].keys()
    assert records["look"]["seconds"]["fit"] > 0  # the next query fitted the model to its labels
    assert "fit" not in records["ensemble"]["seconds"]
    assert "to fit the model to its labels" in in_words(records["look"])


def test_batches_of_autoal_on_pictures_are_told_too(pool: pw.Pool) -> None:
    notes = {"trust": {"margin": 0.75, "random": 0.25}, "search": "loss", "gain_over_equal": 0.5}
    notes |= {"gain_of_best_candidate": 0.25, "accuracy_of_fit_net": 0.5, "seconds_search": 1.0}
    free = pool.state().unlabeled[:4]
    pool.store.ask(lambda state, seed: pw.Selection(free, None, "autoal_images", {}, seed, 2.0, {}, notes))
    told = in_words(explain(pool.store)[-1])
    assert "trusted: margin 75%, random 25%" in told and "FitNet is right on 50%" in told
    assert "chose items whose loss was +0.5 above that of equal weights, the best candidate alone +0.25" in told


def test_a_followed_strategy_and_equal_weights_are_told_too() -> None:
    assert trusted({"followed": "margin"}) == {"margin": 1.0}
    assert trusted({"candidates": "a, b"}) == {"a": 0.5, "b": 0.5}
    assert trusted({}) == {}


def test_the_command_prints_words_or_json(pool: pw.Pool, tmp_path: Path) -> None:
    run = CliRunner().invoke
    words = run(app, ["auto", "explain", str(pool.path)])
    assert words.exit_code == 0 and words.output.count("trusted:") == 5
    records = json.loads(run(app, ["auto", "explain", str(pool.path), "--json"]).output)
    assert [record["batch"] for record in records] == [1, 2, 4, 5, 6]
    fresh = pw.Pool.create(tmp_path / "new.pool", embeddings=tmp_path / "x.npy")
    assert "poolwise query" in run(app, ["auto", "explain", str(fresh.path)]).output
