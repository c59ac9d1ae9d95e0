"""What a person meets who has only the guide: tables, hints, sentences, and places that cannot be written."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys

import numpy as np
import pytest

from poolwise.cli.output import echo_csv, echo_table
from poolwise.status import _quality
from tests.cli.conftest import label_file


def test_a_value_stands_under_its_own_heading_where_rows_have_different_keys(capsys):
    echo_table("", [{"round": 1, "seconds": 0.5}, {"round": 2, "accuracy": 0.9, "seconds": 0.25}])
    header, first, second = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header == ["round", "seconds", "accuracy"]
    assert first == ["1", "0.5", "-"]
    assert second == ["2", "0.25", "0.9"]


def test_a_csv_keeps_the_columns_of_later_rows(capsys):
    echo_csv([{"rank": 0, "score": None}, {"rank": 1, "score": 2.0, "cluster": 4}])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows == [{"rank": "0", "score": "", "cluster": ""}, {"rank": "1", "score": "2.0", "cluster": "4"}]


UNWRITABLE = (
    "select --strategy coreset --embeddings x.npy --batch-size 2 --out file/sub/batch.csv",
    "select --strategy coreset --embeddings x.npy --batch-size 2 --out batch.txt",
    "demo --out file/demo",
    "init file/p --embeddings x.npy",
)


@pytest.mark.parametrize("command", UNWRITABLE)
def test_a_place_that_cannot_be_written_is_one_line(command, poolwise, tmp_path):
    np.save(tmp_path / "x.npy", np.eye(6, dtype=np.float32))
    (tmp_path / "file").write_text("a file, no folder")
    answer = poolwise(command)
    assert answer.code == 1
    assert answer.err.splitlines()[-1].startswith("error: ")
    assert not answer.out


def test_an_error_of_the_file_system_names_the_file_and_what_to_do(poolwise, tmp_path, monkeypatch):
    from poolwise.types import Selection

    def full(self, path):
        raise OSError(28, "No space left on device", str(path))

    np.save(tmp_path / "x.npy", np.eye(6, dtype=np.float32))
    monkeypatch.setattr(Selection, "save", full)
    answer = poolwise("select --strategy coreset --embeddings x.npy --batch-size 2 --out batch.csv")
    assert answer.code == 1
    assert answer.err.startswith("error: no space left to write 'batch.csv'")


@pytest.mark.parametrize("words", [[], ["bench"]])
def test_without_a_verb_the_help_is_printed_once(words):
    answer = subprocess.run([sys.executable, "-m", "poolwise", *words], capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0
    assert answer.stdout.count("Usage: ") == 1


def test_the_next_step_asks_for_no_more_than_there_is(poolwise, tmp_path):
    np.save(tmp_path / "x.npy", np.eye(6, dtype=np.float32))
    made = poolwise("init small.pool --embeddings x.npy")
    assert made.out == "small.pool: 6 items\n"
    command = made.err.removeprefix("Next: poolwise ").strip()
    assert "--batch-size 6" in command
    assert poolwise(command).code == 0


def test_the_next_step_can_be_pasted_where_the_name_of_a_pool_has_a_space(poolwise, tmp_path):
    np.save(tmp_path / "x.npy", np.eye(6, dtype=np.float32))
    made = poolwise("init 'my birds.pool' --embeddings x.npy")
    assert poolwise(made.err.removeprefix("Next: poolwise ").strip()).code == 0


@pytest.mark.parametrize(("command", "harm"), [("embed", "gone"), ("embed --repair", "cut")])
def test_given_embeddings_that_were_damaged_are_read_again_from_their_file(poolwise, tmp_path, command, harm):
    np.save(tmp_path / "x.npy", np.eye(6, dtype=np.float32))
    assert poolwise("init p --embeddings x.npy").code == 0
    (part,) = (tmp_path / "p" / "arrays").rglob("*.npy")
    if harm == "gone":
        shutil.rmtree(part.parent)
    else:
        part.write_bytes(part.read_bytes()[:100])
    assert poolwise("query p --strategy coreset --batch-size 2").code == 1
    answer = poolwise(f"{command} p")
    assert answer.code == 0
    assert answer.out.startswith("given: 6 items embedded")
    assert poolwise("query p --strategy coreset --batch-size 2").code == 0


def test_import_counts_answers_one_in_the_singular(labeled, tmp_path):
    batch = labeled("query birds.pool --waiting --json").json()["batch"]
    label_file(batch[:1], tmp_path / "one.csv")
    assert labeled("import birds.pool one.csv").out == "1 answer recorded\n"
    assert labeled("import birds.pool labels.csv").out == "9 answers recorded\n"


def test_import_tells_of_items_with_different_labels_and_takes_the_last(labeled, tmp_path):
    first, second = (row["item_id"] for row in labeled("query birds.pool --waiting --json").json()["batch"][:2])
    (tmp_path / "twice.csv").write_text(f"item_id,label\n{first},wren\n{second},wren\n{first},robin\n{second},wren\n")
    answer = labeled("import birds.pool twice.csv")
    assert answer.code == 0
    assert f"1 item with different labels in this file, such as {first!r} ('wren', 'robin')" in answer.err
    assert labeled("export birds.pool out.csv").code == 0
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        assert {row["item_id"]: row["label"] for row in csv.DictReader(file)} == {first: "robin", second: "wren"}
    assert "different" not in labeled("import birds.pool labels.csv").err


def test_an_audited_pool_is_not_told_to_begin_auditing():
    metrics = {"accuracy_out_of_fold": 0.5}
    assert "--audit" in _quality(metrics, 1, audited=False)[0]
    assert "--audit" not in _quality(metrics, 1, audited=True)[0]


def test_label_studio_tasks_come_with_a_word_about_the_labeling_setup(labeled, tmp_path):
    answer = labeled("export birds.pool tasks.json")
    assert answer.out == "tasks.json\n"
    assert "tasks.xml" in answer.err
    assert (tmp_path / "tasks.xml").is_file()
    assert labeled("export birds.pool labels.csv").err == ""
    clash = labeled("export birds.pool tasks.xml --format label_studio")
    assert clash.code == 1
    assert "name them .json" in clash.err
