"""A run directory has everything to run again; a sealed round is whole and never changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from poolwise.errors import InputError, PoolVersionError, StoreError
from poolwise.store.runs import RunDirectory, versions
from poolwise.types import Round, Selection

SETTINGS = {"strategy": "margin", "batch_size": 10, "options": {"k": (1, 2)}, "folder": Path("photos")}


def a_round(number: int) -> Round:
    indices = np.array([3, 1, 2], dtype=np.int64)
    scores = np.array([0.1, np.nan, -np.inf], dtype=np.float32)
    selection = Selection(
        indices, scores, "margin", {"k": 1}, 5, 0.25, {"gap": indices / 3}, {"note": "x"}, ("c", "a", "b")
    )
    return Round(number, selection, 10 * number, 100, "abc", {"accuracy": 0.1 * number, "loss": float("nan")})


def test_a_run_reads_back_as_it_was_sealed(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", settings=SETTINGS, seed=3)
    for number in (1, 2):
        run.seal(a_round(number))
    again = RunDirectory.open(str(tmp_path / "run")).run()
    assert again.settings == {**SETTINGS, "options": {"k": [1, 2]}, "folder": "photos"}
    assert again.seed == 3
    assert again.versions["numpy"] == np.__version__
    for number, got in enumerate(again.rounds, start=1):
        wanted = a_round(number)
        assert (got.number, got.n_labeled, got.budget_left, got.digest) == (number, 10 * number, 100, "abc")
        assert got.metrics["accuracy"] == 0.1 * number
        assert np.isnan(got.metrics["loss"])
        assert got.selection is not None
        assert wanted.selection is not None
        assert got.selection.indices.tolist() == [3, 1, 2]
        assert got.selection.scores is not None
        assert got.selection.scores.dtype == np.float32
        assert np.array_equal(got.selection.scores, wanted.selection.scores, equal_nan=True)  # type: ignore[arg-type]
        assert got.selection.components["gap"].tolist() == wanted.selection.components["gap"].tolist()
        assert got.selection.item_ids == ("c", "a", "b")


def test_rounds_are_sealed_once_and_in_order(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, settings={}, seed=0)
    with pytest.raises(StoreError, match=r"cannot seal round 2 .*round 1 is due"):
        run.seal(a_round(2))
    run.seal(Round(1, None, 0, 5, "", {}))
    with pytest.raises(StoreError, match=r"cannot seal round 1 .*round 2 is due"):
        RunDirectory.open(tmp_path).seal(a_round(1))
    assert run.rounds() == (Round(1, None, 0, 5, "", {}),)


def test_a_stopped_run_goes_on_after_its_last_sealed_round(tmp_path: Path) -> None:
    first = RunDirectory.resume(tmp_path / "run", settings=SETTINGS, seed=3)
    first.seal(a_round(1))
    (tmp_path / "run" / "rounds" / ".000002.json.77-1.tmp").write_text('{"number": 2, "sel')  # killed while writing
    again = RunDirectory.resume(tmp_path / "run", settings=SETTINGS, seed=3)
    assert again.next_round() == 2
    assert len(again.rounds()) == 1


def test_a_run_with_other_settings_is_not_gone_on_with(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, settings=SETTINGS, seed=3)
    with pytest.raises(InputError, match=r"batch_size was 10, now 20, seed was 3, now 4; 2 differ"):
        RunDirectory.resume(tmp_path, settings={**SETTINGS, "batch_size": 20}, seed=4)
    with pytest.raises(StoreError, match="holds a run already"):
        RunDirectory.create(tmp_path, settings=SETTINGS, seed=3)


def test_what_is_no_run_or_damaged_or_newer_is_explained(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        RunDirectory.open(tmp_path)
    run = RunDirectory.create(tmp_path / "run", settings={}, seed=0)
    run.seal(a_round(1))
    for text in ("{", "[]", "{}"):
        (tmp_path / "run" / "rounds" / "000001.json").write_text(text)
        with pytest.raises(StoreError, match=r"000001\.json.*is damaged"):
            run.rounds()
    path = tmp_path / "run" / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(PoolVersionError, match="has format 2"):
        RunDirectory.open(tmp_path / "run")
    path.write_text("{}")
    with pytest.raises(StoreError, match="is damaged"):
        RunDirectory.open(tmp_path / "run")


def test_records_are_strict_json(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, settings={"x": float("nan")}, seed=0)
    run.seal(a_round(1))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for path in tmp_path.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=refuse)


def test_versions_name_python_and_the_packages_that_are_installed() -> None:
    assert {"python", "system", "numpy"} <= set(versions())
