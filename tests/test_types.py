"""The records that cross the borders of poolwise."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from poolwise.errors import InputError
from poolwise.types import Selection, plain


def selection() -> Selection:
    return Selection(
        indices=np.array([4, 2]),
        scores=np.array([0.5, -np.inf], dtype=np.float32),
        strategy="base",
        options={"order": "draft"},
        seed=3,
        seconds=0.25,
        components={"predicted": np.array([1, 0])},
        notes={"passes": np.int64(1)},
    )


def test_the_machine_form_is_plain_json() -> None:
    record = json.loads(json.dumps(selection().to_dict(), allow_nan=False))
    assert record["batch"] == [
        {"rank": 0, "index": 4, "item_id": "4", "score": 0.5, "predicted": 1},
        {"rank": 1, "index": 2, "item_id": "2", "score": None, "predicted": 0},
    ]
    assert set(record) == {"batch", "strategy", "options", "seed", "seconds", "notes"}
    assert record["notes"] == {"passes": 1} and record["options"] == {"order": "draft"}


def test_a_selection_is_saved_by_the_ending_of_the_name(tmp_path: Path) -> None:
    batch = selection()
    assert json.loads(batch.save(tmp_path / "b.json").read_text())["seed"] == 3
    with batch.save(tmp_path / "b.csv").open(newline="") as file:
        assert [row["index"] for row in csv.DictReader(file)] == ["4", "2"]
    with pytest.raises(InputError, match=r"b\.txt.*\.json or \.csv"):
        batch.save(tmp_path / "b.txt")


def test_the_explanation_names_strategy_options_and_first_picks() -> None:
    text = selection().explain()
    assert text.startswith("base (order=draft), seed 3: 2 items")
    assert "#0 item 4: score 0.5, predicted 1" in text and "passes: 1" in text


def test_plain_turns_numpy_into_json_values() -> None:
    assert plain({"a": np.array([1.5, np.nan]), 2: (np.int8(3), [np.bool_(True)])}) == {
        "a": [1.5, None],
        "2": [3, [True]],
    }
