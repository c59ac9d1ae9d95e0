"""Answers "not of interest", from a label file to a purer next batch."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

CLASSES = 3
FOREIGN = {3, 4, 5}


@pytest.fixture
def open_pool(poolwise, tmp_path):
    """Six overlapping classes in eight dimensions, three of them of no interest; 60 random answers are in."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 6, 600)
    centres = 1.6 * rng.normal(size=(6, 8))
    np.save(tmp_path / "x.npy", (centres[truth] + rng.normal(size=(600, 8))).astype(np.float32))
    assert poolwise("init open.pool --embeddings x.npy --classes a,b,c").code == 0

    def answer(query: str, word: str = "not of interest") -> float:
        """Ask, answer by the truth, import; returns the share of the batch that is of interest."""
        rows = list(csv.DictReader(io.StringIO(poolwise(f"query open.pool {query}").out)))
        picked = truth[[int(row["index"]) for row in rows]]
        names = [word if k in FOREIGN else "abc"[k] for k in picked]
        lines = [f"{row['item_id']},{name}" for row, name in zip(rows, names, strict=True)]
        (tmp_path / "answers.csv").write_text("\n".join(["item_id,label", *lines]) + "\n")
        told = poolwise("import open.pool answers.csv --json").json()
        assert told["new_classes"] == []
        return float(np.mean([k not in FOREIGN for k in picked]))

    answer("--strategy random --batch-size 60")
    return answer


def test_what_annotators_reject_makes_the_next_batches_purer(open_pool, poolwise):
    plain = open_pool("--strategy margin --batch-size 40 --seed 1")
    gated = [open_pool("--strategy margin --batch-size 40 --ood answers") for _ in range(2)]
    assert plain < 0.65
    assert min(gated) > 0.8


@pytest.mark.parametrize("word", ["not of interest", "Not_of_interest", " NOT  OF INTEREST ", "__not_of_interest__"])
def test_any_spelling_of_the_words_is_the_answer(open_pool, poolwise, word):
    before = poolwise("status open.pool --json").json()["n_foreign"]
    share = open_pool("--strategy random --batch-size 20", word)
    after = poolwise("status open.pool --json").json()
    assert after["n_foreign"] - before == round(20 * (1 - share)) > 0
    assert after["classes"] == ["a", "b", "c"]
    assert f"Not of interest: {after['n_foreign']}" in poolwise("status open.pool").out


def test_a_class_of_that_name_stays_a_class(poolwise, tmp_path):
    np.save(tmp_path / "x.npy", np.eye(4, dtype=np.float32))
    assert poolwise("init p.pool --embeddings x.npy --classes 'bird,not of interest'").code == 0
    (tmp_path / "a.csv").write_text("item_id,label\n0,not of interest\n1,bird\n")
    assert poolwise("import p.pool a.csv --allow-unasked --json").json()["counts"] == [1, 1]


def test_a_simulation_tests_on_items_of_interest_only(open_pool, poolwise, tmp_path):
    """Items of no class would all count as errors: here the classes are far apart, so accuracy must be near 1."""
    truth = np.arange(300) % 3
    x = 8 * np.eye(3, dtype=np.float32)[truth] + np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)
    np.save(tmp_path / "y.npy", x)
    names = np.array(["a", "b", "not of interest"])[truth]
    lines = [f"{i},{name}" for i, name in enumerate(names)]
    (tmp_path / "truth.csv").write_text("\n".join(["item_id,label", *lines]) + "\n")
    assert poolwise("init far.pool --embeddings y.npy").code == 0
    answer = poolwise("run far.pool --strategy margin --oracle truth.csv --batch-size 10 --budget 30")
    assert answer.code == 0, answer.err
    status = poolwise("status far.pool --json").json()
    assert status["classes"] == ["a", "b"]
    assert status["metrics"]["accuracy"] > 0.95
