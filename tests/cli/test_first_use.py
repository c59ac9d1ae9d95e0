"""The way of a new user through the README, and what happens when a step is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.cli.conftest import label_file


def test_from_a_folder_of_images_to_a_report(poolwise, photos, tmp_path):
    assert poolwise("init p --images photos").code == 0
    assert poolwise("embed p").code == 0
    first = poolwise("query p --strategy typiclust --batch-size 12 --json").json()
    assert set(first) >= {"batch", "strategy", "options", "seed", "seconds"}
    assert [row["rank"] for row in first["batch"]] == list(range(12))
    assert {"index", "item_id", "score"} <= set(first["batch"][0])
    assert (photos / first["batch"][0]["item_id"]).is_file()
    label_file(first["batch"], tmp_path / "labels.csv")
    assert poolwise("import p labels.csv").code == 0
    second = poolwise("query p --strategy base --batch-size 12 --json").json()
    assert not {r["index"] for r in first["batch"]} & {r["index"] for r in second["batch"]}
    report = poolwise("report p").out.strip()
    page = (tmp_path / report).read_text(encoding="utf-8")
    assert "<html" in page
    status = poolwise("status p --json").json()
    assert status["n_labeled"] == 12
    assert status["n_waiting"] == 12


def test_the_round_verb_imports_retrains_and_asks_again(labeled):
    answer = labeled("round birds.pool --labels labels.csv --strategy margin --batch-size 5 --json")
    assert answer.code == 0, answer.err
    assert len(answer.json()["batch"]) == 5
    assert labeled("status birds.pool --json").json()["n_labeled"] == 9


def test_run_with_a_simulated_oracle_spends_the_budget_and_continues(embedded):
    command = "run birds.pool --oracle source --strategy margin --batch-size 6 --json --budget "
    first = embedded(command + "12").json()
    assert first["finished"]
    assert first["rounds"][-1]["n_labeled"] == 12
    longer = embedded(command + "24").json()
    assert [r["n_labeled"] for r in longer["rounds"]] == [6, 12, 18, 24]
    assert longer["rounds"][-1]["accuracy"] > 0.8


def test_run_without_an_oracle_says_what_it_waits_for(embedded):
    answer = embedded("run birds.pool --strategy typiclust --batch-size 4 --budget 8")
    assert answer.code == 0
    assert "4 items wait for a label" in answer.err


def test_select_json_has_the_fixed_form(poolwise, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32))
    np.savez(tmp_path / "head.npz", weight=np.random.default_rng(1).normal(size=(5, 4)), bias=np.zeros(5))
    answer = poolwise("select --strategy base --embeddings x.npy --head head.npz --batch-size 7 --json --seed 3").json()
    assert (answer["strategy"], answer["seed"], len(answer["batch"])) == ("base", 3, 7)


def test_strategies_json_names_needs(poolwise):
    rows = {row["name"]: row for row in poolwise("strategies --json").json()}
    assert rows["margin"]["needs"] == ["probs"] or rows["margin"]["needs"] == ["logits"]
    assert "embeddings" in rows["coreset"]["needs"]
    assert {"name", "family", "needs", "options", "paper"} <= set(rows["badge"])


WRONG = {
    "query birds.pool --strategy marginn": "did you mean 'margin'",
    "query birds.pool --strategy coreset --batch-size 5000": "batch_size",
    "query birds.pool --strategy coreset --set foo=3": "no option 'foo'",
    "query birds.pool --strategy typiclust --set n_neighbors=many": "'n_neighbors' must be",
    "import birds.pool wrong-column.csv": "label",
    "import birds.pool unknown-item.csv": "nobody.png",
    "import birds.pool unasked.csv": "--allow-unasked",
    "init birds.pool --images photos": "birds.pool",
    "init other.pool --images empty": "empty",
    "init other.pool": "--images",
    "embed birds.pool --backbone nonsense": "nonsense",
    "query birds.pool --strategy base --batch-size 3": "label",
}


@pytest.mark.parametrize("command", WRONG)
def test_a_wrong_step_is_one_clear_line(command, embedded, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong-column.csv").write_text("item_id,klass\nwren/00.png,wren\n")
    (tmp_path / "unknown-item.csv").write_text("item_id,label\nnobody.png,wren\n")
    (tmp_path / "unasked.csv").write_text("item_id,label\nwren/00.png,wren\n")
    answer = embedded(command)
    assert answer.code == 1
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert WRONG[command] in answer.err
    assert not answer.out


def test_labels_of_items_never_asked_for_are_accepted_with_a_flag(embedded, tmp_path):
    (tmp_path / "unasked.csv").write_text("item_id,label\nwren/00.png,wren\nrobin/03.png,robin\n")
    assert embedded("import birds.pool unasked.csv --allow-unasked --json").json()["imported"] == 2


def test_a_batch_is_never_asked_for_twice(embedded):
    seen: set[int] = set()
    for _ in range(5):
        batch = json.loads(embedded("query birds.pool --strategy random --batch-size 12 --json").out)["batch"]
        assert not seen & {row["index"] for row in batch}
        seen |= {row["index"] for row in batch}
    answer = embedded("query birds.pool --strategy random --batch-size 1")
    assert answer.code == 1
    assert "wait" in answer.err


def test_a_batch_whose_printing_was_lost_can_be_printed_again_or_given_back(embedded):
    first = embedded("query birds.pool --strategy random --batch-size 7 --json").json()["batch"]
    again = embedded("query birds.pool --waiting --json").json()["batch"]
    assert [row["item_id"] for row in again] == [row["item_id"] for row in first]
    assert embedded("release birds.pool --json").json() == {"released": 7}
    assert embedded("status birds.pool --json").json()["n_unlabeled"] == 60
    assert embedded("query birds.pool --waiting --json").json() == {"batch": []}
