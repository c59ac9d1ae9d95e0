"""The driver of the speed benchmark: figures are made, wrong answers are caught, a missing peer is said."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.peers import textbook
from benchmarks.peers.packages import PIP_NAMES
from benchmarks.speed import __main__ as driver
from benchmarks.speed import checks, imagenet, plot, reach, scaling, table
from benchmarks.speed.case import Check, Trial
from benchmarks.speed.cases import CASES
from benchmarks.speed.child import measure, run_case
from benchmarks.speed.data import head, probabilities, rows
from benchmarks.speed.kept import Runner, in_child
from benchmarks.speed.measure import measured

WITHOUT_PEER = [case for case in CASES if not case.needs]


@pytest.mark.parametrize("case", WITHOUT_PEER, ids=lambda case: case.name)
def test_every_textbook_case_agrees_on_a_tiny_pool(case: Any) -> None:
    record = run_case(case, repeats=1, tiny=True)
    assert record["status"] == "ok", record["text"]
    assert record["ratio"] == pytest.approx(record["peer"]["cpu_s"] / record["fast"]["cpu_s"])


def test_case_names_are_unique_and_tell_peer_and_data_apart() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def test_a_wrong_answer_is_caught_even_if_it_is_fast() -> None:
    case = next(c for c in CASES if c.name == "kcenter-10k-matrix-structured")
    right = case.build(**case.tiny)
    worse = replace(right, fast=lambda: np.arange(12))
    assert measure(right, 1)["status"] == "ok"
    record = measure(worse, 1)
    assert record["status"] == "wrong"
    assert table.verdict({**record, "required": 0.0}) == "WRONG"


def test_same_picks_wants_distinct_rows_and_nearly_all_of_them() -> None:
    theirs = np.arange(1000)
    assert checks.same_picks(theirs[::-1], theirs).passed
    assert checks.same_picks(np.r_[np.arange(996), 5000:5004], theirs).passed
    assert not checks.same_picks(np.r_[np.arange(990), 5000:5010], theirs).passed
    assert not checks.same_picks(np.r_[theirs, 3], theirs).passed


def test_order_counts_where_it_must() -> None:
    assert checks.same_order(np.array([3, 1, 2]), np.array([3, 1])).passed
    assert not checks.same_order(np.array([1, 3, 2]), np.array([3, 1])).passed
    assert not checks.same_order(np.array([3]), np.array([3, 1])).passed


def test_a_few_picks_are_extended_along_a_line() -> None:
    trial = Trial(str, str, lambda a, b: Check(True, ""), shorter=str, picks=(10, 20), target=100)
    assert trial.whole(peer_s=3.0, shorter_s=2.0) == pytest.approx(3 + 80 * 0.1)
    assert replace(trial, shorter=None, share=0.25).whole(3.0, 0.0) == 12.0


def test_a_missing_peer_is_reported_with_the_command_that_brings_it() -> None:
    record = run_case(replace(WITHOUT_PEER[0], needs="no_such_peer"), tiny=True)
    assert record["text"] == "pip install no_such_peer"
    assert table.verdict(record) == "not installed"
    assert "not installed" in table.cases_table([record])
    assert all(case.needs in PIP_NAMES for case in CASES if case.needs)


def test_a_child_that_fails_is_reported_not_raised() -> None:
    record = in_child("case", "no such case")
    assert record["status"] == "failed"
    assert record["text"]


def test_an_answer_is_kept_until_the_time_is_up_and_a_failure_is_not(tmp_path: Path) -> None:
    words = ("case", "mase-c100-per-row-structured", "--repeats", "1", "--tiny")
    first = Runner(tmp_path)(*words)
    assert first["status"] == "ok"
    late = Runner(tmp_path, deadline=0.0)
    assert late(*words) == first
    assert late("case", "mase-c100-per-row-isotropic")["status"] == "not measured"
    assert Runner(tmp_path)("case", "no such case")["status"] == "failed"
    assert len(list(tmp_path.iterdir())) == 1


def test_all_is_met_only_if_all_was_measured() -> None:
    fine = {"status": "ok", "ratio": 3.0, "required": 2.0}
    assert driver.all_met({"cases": [fine, {**fine, "required": 0}], "scaling": [{"slope": 1.0, "steepest": 1.2}]})
    for worse in ({**fine, "ratio": 1.9}, {**fine, "status": "wrong"}, {"status": "not measured", "required": 2.0}):
        assert not driver.all_met({"cases": [fine, worse]})
    assert not driver.all_met({"scaling": [{"slope": float("nan"), "steepest": 1.2}]})
    assert not driver.all_met({"reach": [{"cells": [{"status": "not measured"}]}]})


def test_a_missed_requirement_is_told_beside_what_a_bare_read_would_reach() -> None:
    record = {"task": "t", "data": "d", "against": "p", "status": "ok", "text": "", "ratio": 5.0, "required": 15.0}
    record |= {"fast": {"cpu_s": 0.004, "memory": 0}, "peer": {"cpu_s": 0.02, "memory": 0}, "floor": 13.3}
    assert "**FAIL**; a bare read: 13.3x" in table.cases_table([record])
    assert "a bare read: 13.3x" in table.in_short([record])
    assert "bare read" not in table.cases_table([{**record, "required": 4.0}])
    floor = {**record, "required": 0}
    assert table.verdict(floor) == "floor"
    assert "1 of 1 rows pass" in table.in_short([{**record, "required": 4.0}, floor])


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux process status")
def test_memory_that_was_freed_before_counts_again() -> None:
    def hold() -> None:
        pieces = [np.ones(10_000) for _ in range(500)]  # 80 kB each: from the heap, which keeps what is freed
        time.sleep(0.03)
        assert len(pieces) == 500

    hold()
    with measured(memory=True) as cost:
        hold()
    assert 30e6 < cost.memory < 60e6


def test_memory_counts_what_a_call_held() -> None:
    with measured(memory=True) as cost:
        held = np.ones(4_000_000)  # 32 MB
        held.sum()
    if cost.before:
        assert 30e6 < cost.memory < 60e6
    assert cost.cpu_s > 0


def test_the_driver_writes_page_and_json_and_keeps_other_parts(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "speed.json").write_text(json.dumps({"features": []}))
    code = driver.main(["--only", "mase-c100-per-row-structured", "--tiny", "--repeats", "1", "--out", str(tmp_path)])
    assert code in (0, 1)  # a tiny pool says nothing about speed
    page = (tmp_path / "speed.md").read_text()
    assert "MASE N=20k C=100" in page and "of 1 rows pass" in page
    results = json.loads((tmp_path / "speed.json").read_text())
    assert results["features"] == []
    assert results["cases"][0]["status"] == "ok"
    assert results["environment"]["packages"]["numpy"] == np.__version__
    assert page in capsys.readouterr().out + "\n"


def test_the_table_shows_ratio_requirement_and_verdict() -> None:
    record = {
        "task": "t",
        "data": "structured",
        "against": "p",
        "status": "ok",
        "text": "100%",
        "ratio": 11.0,
        "required": 12.0,
        "fast": {"cpu_s": 0.01, "memory": 2_000_000},
        "peer": {"cpu_s": 0.11, "memory": 3_100_000_000},
    }
    line = table.cases_table([record]).splitlines()[-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        "t",
        "structured",
        "p",
        "10 ms",
        "110 ms",
        "2 MB",
        "3.1 GB",
        "11.0x",
        "≥ 12.0x",
        "**FAIL**",
        "100%",
    ]
    assert table.verdict({**record, "ratio": 12.0}) == "pass"
    assert "FAIL: t (structured) against p" in table.in_short([record])


def test_slopes_are_exponents(tmp_path: Path) -> None:
    points = [{"value": n, "cpu_s": 1e-6 * n**1.5, "memory": 8 * n} for n in (100, 1000, 10_000)]
    assert scaling.slope(points) == pytest.approx(1.5)
    assert scaling.slope(points, "memory") == pytest.approx(1.0)
    curve = {"name": "c", "along": "N", "points": points, "slope": 1.5, "steepest": 1.2}
    assert "**FAIL**" in table.slopes_table([curve])
    pytest.importorskip("matplotlib")
    assert plot.draw([curve], tmp_path / "speed.svg")
    assert re.search("<svg", (tmp_path / "speed.svg").read_text())


def test_reach_says_the_memory_instead_of_running_out_of_it() -> None:
    badge = next(m for m in reach.METHODS if m.name == "scikit-activeml Badge")
    cell = reach.expected(badge, 1_281_167, [])
    assert cell is not None and cell["status"] == "memory"
    assert cell["bytes"] == 12 * 1_281_167 * reach.C * reach.D
    coreset = next(m for m in reach.METHODS if m.name == "scikit-activeml CoreSet")
    slow = reach.expected(coreset, 100_000, [{"n": 10_000, "status": "ok", "cpu_s": 4.0}])
    assert slow == {"status": "time", "cpu_s": 40.0}
    assert reach.expected(coreset, 100_000, [{"n": 10_000, "status": "ok", "cpu_s": 1.0}]) is None


def test_plain_loops_agree_with_each_other() -> None:
    x, labeled = rows("structured", 200, 16).astype(np.float64), np.array([3, 50])
    picks, radius = textbook.k_center_loop(x, labeled, 20)
    assert picks.tolist() == textbook.k_center_columns(x, labeled, 20).tolist()
    assert picks.tolist() == textbook.k_center_matrix(x, labeled, 20).tolist()
    assert np.all(np.diff(radius) <= 1e-12)


def test_the_head_is_as_sure_as_a_trained_one() -> None:
    probs = probabilities("structured", 4000, 100)
    assert 0.6 < float(probs.max(axis=1).mean()) < 0.85
    x = rows("structured", 4000, 128)
    weight, bias = head(x, 100)
    assert weight.shape == (100, 128) and bias.shape == (100,)
    assert len(np.unique((x @ weight.T + bias).argmax(axis=1))) > 60


def test_the_imagenet_script_makes_selects_reports_and_cleans_up(tmp_path: Path, capsys: Any) -> None:
    small = ["--rows", "600", "--width", "16", "--classes", "5", "--batch-size", "20", "--only", "margin", "base"]
    assert imagenet.main([*small, "--folder", str(tmp_path / "data"), "--out", str(tmp_path)]) == 0
    assert not (tmp_path / "data").exists()
    records = json.loads((tmp_path / "imagenet.json").read_text())["records"]
    assert [r["strategy"] for r in records] == ["margin", "base"]
    assert all(r["distinct"] == 20 and r["rows"] == 600 for r in records)
    assert "| margin |" in (tmp_path / "imagenet.md").read_text()


def test_imagenet_limits_are_enforced() -> None:
    fine = {"strategy": "margin", "wall_s": 80.0, "cpu_s": 150.0, "peak": 4e8, "load": [1.0, 2.0]}
    assert imagenet.verdict(fine) == "pass"
    assert imagenet.verdict({**fine, "wall_s": 95.0}) == "FAIL (wall)"
    assert imagenet.verdict({**fine, "peak": 1.1e9}) == "FAIL (memory)"
    assert imagenet.verdict({**fine, "wall_s": 200.0, "load": [9.0, 9.0]}) == "FAIL (wall, on a busy machine)"
    assert imagenet.verdict({"strategy": "base", "failed": "MemoryError"}) == "failed: MemoryError"
