"""`poolwise select` on files that a user may have: heads, folders of parts, places to write to."""

from __future__ import annotations

import csv
import json
import pickle

import numpy as np
import pytest

import poolwise.cli.select as select_module

N, D, C = 60, 4, 3


@pytest.fixture
def files(tmp_path):
    """x.npy (60, 4), weight W (3, 4) and bias a (3,) of a head."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(N, D)).astype(np.float32))
    return tmp_path, rng.normal(size=(C, D)).astype(np.float32), rng.normal(size=C).astype(np.float32)


def picked(answer):
    assert answer.code == 0, answer.err
    return [int(row["index"]) for row in csv.DictReader(answer.out.splitlines())]


def by_hand(folder, weight, bias, count):
    """Indices of the smallest gaps between the two largest probabilities, in float64."""
    z = np.load(folder / "x.npy").astype(np.float64) @ weight.T.astype(np.float64) + bias
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    p.sort(axis=1)
    return np.argsort(p[:, -1] - p[:, -2], kind="stable")[:count].tolist()


COMMAND = "select --strategy margin --embeddings x.npy --batch-size 5 --head "


def test_a_head_is_read_from_every_form(poolwise, files):
    folder, weight, bias = files
    save_file = pytest.importorskip("safetensors.numpy").save_file
    np.savez(folder / "a.npz", weight=weight, bias=bias)
    np.savez_compressed(folder / "b.npz", head_weight=weight, head_bias=bias)
    save_file({"weight": weight, "bias": bias}, folder / "c.safetensors")
    np.savez(folder / "d.npz", weight=weight)
    np.save(folder / "e.npy", weight)
    for name in ("a.npz", "b.npz", "c.safetensors"):
        assert picked(poolwise(COMMAND + name)) == by_hand(folder, weight, bias, 5), name
    for name in ("d.npz", "e.npy"):
        assert picked(poolwise(COMMAND + name)) == by_hand(folder, weight, 0, 5), name


def damaged_heads(folder, weight):
    np.savez(folder / "objects.npz", weight=np.array([{}], dtype=object))
    (folder / "text.npz").write_text("hello")
    (folder / "empty.npz").touch()
    (folder / "garbage.safetensors").write_bytes(b"garbage")
    (folder / "list.safetensors").write_bytes((2).to_bytes(8, "little") + b"[]")
    (folder / "network.pt").write_bytes(pickle.dumps({"weight": 1}))
    (folder / "folder").mkdir()
    np.savez(folder / "other.npz", w=weight)
    return {
        "objects.npz": "cannot read 'objects.npz'",
        "text.npz": "cannot read 'text.npz'",
        "empty.npz": "cannot read 'empty.npz'",
        "garbage.safetensors": "cannot read 'garbage.safetensors'",
        "list.safetensors": "cannot read 'list.safetensors'",
        "network.pt": "'network.pt'; expected a name ending in .npz or .safetensors",
        "folder": "'folder'; expected a name ending in .npz or .safetensors",
        "other.npz": "other.npz holds ['w']; expected 'weight' (C, D)",
    }


def test_a_head_that_cannot_be_read_is_named_in_one_line(poolwise, files):
    folder, weight, _ = files
    for name, message in damaged_heads(folder, weight).items():
        answer = poolwise(COMMAND + name)
        assert answer.code == 1 and answer.out == "", name
        assert answer.err.startswith("error: ") and answer.err.count("\n") == 1 and message in answer.err, name


@pytest.mark.parametrize(("out", "message"), [("batch.txt", ".json or .csv"), ("nowhere/batch.csv", "no folder")])
def test_a_place_that_cannot_be_written_is_refused_before_the_batch_is_chosen(
    poolwise, files, monkeypatch, out, message
):
    def never(*args, **options):
        raise AssertionError("the batch was chosen in vain")

    monkeypatch.setattr(select_module, "select_arrays", never)
    answer = poolwise(f"select --strategy coreset --embeddings x.npy --batch-size 3 --out {out}")
    assert answer.code == 1 and out in answer.err and message in answer.err


def test_the_batch_is_also_written_to_a_file(poolwise, files):
    folder, *_ = files
    answer = poolwise("select --strategy coreset --embeddings x.npy --batch-size 3 --out batch.json")
    record = json.loads((folder / "batch.json").read_text())
    assert [row["index"] for row in record["batch"]] == picked(answer)


def test_a_stopped_choice_does_not_claim_to_have_saved_anything(poolwise, files, monkeypatch):
    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(select_module, "select_arrays", stop)
    answer = poolwise("select --strategy coreset --embeddings x.npy --batch-size 3")
    assert (answer.code, answer.out, answer.err) == (130, "", "stopped\n")
