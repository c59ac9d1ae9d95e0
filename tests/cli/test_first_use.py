"""The way of a new user through the README, and what happens when a step is wrong."""

from __future__ import annotations

import json
import subprocess
import sys

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
    assert poolwise("status p --json").json()["n_rounds"] == 1
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


def test_query_keeps_back_what_a_detector_flags(labeled):
    assert labeled("import birds.pool labels.csv").code == 0
    answer = labeled("query birds.pool --strategy random --batch-size 3 --ood mahalanobis --json").json()
    assert answer["notes"]["ood"] == "mahalanobis" and answer["notes"]["flagged"] >= 0
    assert all("ood_score" in row for row in answer["batch"])
    wrong = labeled("query birds.pool --strategy random --batch-size 3 --ood mahalanobi")
    assert wrong.code == 1 and "did you mean 'mahalanobis'" in wrong.err


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


WRONG_USAGE = {
    "frobnicate": "frobnicate",
    "query": "POOL",
    "query birds.pool --batch-size many": "--batch-size",
    "query birds.pool --batch-size 0": "--batch-size",
    "select --strategy coreset --embeddings nosuch.npy": "nosuch.npy",
    "status --nonsense": "--nonsense",
}


@pytest.mark.parametrize("command", WRONG_USAGE)
def test_wrong_usage_is_one_line_too_and_says_where_the_help_is(command, poolwise):
    answer = poolwise(command)
    assert answer.code == 2
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert WRONG_USAGE[command] in answer.err
    assert "--help`" in answer.err
    assert not answer.out


def test_a_pool_that_does_not_exist_is_named_with_how_to_make_one(poolwise):
    answer = poolwise("query nosuch.pool")
    assert answer.code == 1
    assert answer.err.count("\n") == 1
    assert "poolwise init nosuch.pool" in answer.err


def test_stopping_a_command_says_that_it_continues(embedded, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("poolwise.pool.Pool.embed", interrupt)
    answer = embedded("embed birds.pool")
    assert answer.code == 130
    assert "the same command continues" in answer.err


def test_a_reader_that_goes_away_is_no_error():
    command = [sys.executable, "-m", "poolwise", "strategies", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


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


def test_a_corrupt_image_is_reported_and_never_asked_for(poolwise, photos):
    (photos / "wren" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
    assert poolwise("init p --images photos --json").json()["n_items"] == 61
    answer = poolwise("embed p")
    assert answer.code == 0
    assert "unreadable: wren/broken.png" in answer.err
    batch = poolwise("query p --strategy random --batch-size 60 --json").json()["batch"]
    assert "wren/broken.png" not in {row["item_id"] for row in batch}


def test_a_label_that_is_no_class_is_refused_with_the_nearest_one(poolwise, photos, tmp_path):
    assert poolwise("init p --images photos --classes 'wren,robin,blue tit'").code == 0
    batch = poolwise("query p --strategy random --batch-size 2 --json").json()["batch"]
    rows = "".join(f"{row['item_id']},wern\n" for row in batch)
    (tmp_path / "labels.csv").write_text("item_id,label\n" + rows)
    answer = poolwise("import p labels.csv")
    assert answer.code == 1
    assert "'wern'" in answer.err
    assert "'wren'" in answer.err
    assert poolwise("status p --json").json()["n_labeled"] == 0


def test_classes_that_differ_only_in_case_are_pointed_out(embedded, tmp_path):
    head = "item_id,label\n"
    (tmp_path / "one.csv").write_text(head + "wren/00.png,wren\nrobin/03.png,robin\n")
    (tmp_path / "two.csv").write_text(head + "wren/01.png,Wren\nwren/02.png,wren \nwren/03.png,tit\n")
    assert "class" not in embedded("import birds.pool one.csv --allow-unasked").err
    answer = embedded("import birds.pool two.csv --allow-unasked --json")
    assert answer.json()["new_classes"] == ["Wren", "tit"]
    assert "'Wren' and 'wren' count as two classes" in answer.err


def test_ids_that_repeat_are_named(poolwise, tmp_path):
    (tmp_path / "t.csv").write_text("key,body\na1,one text\na2,another text\na1,a third text\n")
    answer = poolwise("init p --table t.csv --text body --id-column key")
    assert answer.code == 1
    assert "'a1'" in answer.err


def test_a_pool_of_a_newer_version_is_left_alone(embedded, tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "birds.pool" / "ledger.sqlite") as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    answer = embedded("status birds.pool")
    assert answer.code == 1
    assert "reads up to" in answer.err
    assert "pip install -U" in answer.err


def test_a_folder_that_is_no_pool_is_named(poolwise, photos):
    answer = poolwise("status photos")
    assert answer.code == 1
    assert "is no pool" in answer.err


def test_nan_in_an_array_names_the_row(poolwise, tmp_path):
    x = np.zeros((50, 3), dtype=np.float32)
    x[37, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    answer = poolwise("select --strategy coreset --embeddings x.npy --batch-size 3")
    assert answer.code == 1
    assert "row 37" in answer.err
    assert "row 37" in poolwise("init p --embeddings x.npy").err
    assert not (tmp_path / "p").exists()


def test_texts_from_a_table_to_a_batch(poolwise, tmp_path):
    words = {"sport": "goal match team score", "food": "bread soup dinner sauce"}
    rows = [f"{kind} {words[kind]} number{i},{kind}" for i in range(30) for kind in words]
    (tmp_path / "news.csv").write_text("body,topic\n" + "\n".join(rows) + "\n")
    assert poolwise("init news.pool --table news.csv --text body").code == 0
    assert poolwise("embed news.pool").code == 0
    batch = poolwise("query news.pool --batch-size 2 --json").json()["batch"]
    kinds = {rows[row["index"]].split(",")[1] for row in batch}
    assert kinds == {"sport", "food"}


def test_tasks_for_label_studio_hold_the_waiting_items(labeled, tmp_path):
    assert labeled("export birds.pool tasks.json").code == 0
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert len(tasks) == 9
