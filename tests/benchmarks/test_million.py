"""Limits at a million rows are applied as they are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.speed.million import CASES, counted_s, keep, line, verdict


def record(strategy: str, **changes: Any) -> dict[str, Any]:
    case = CASES[strategy]
    sizes = {"rows": 1_000_000, "width": case.width, "classes": case.classes, "batch_size": case.batch_size}
    spent = {"wall_s": 10.0, "cpu_s": 15.0, "peak": 5e8, "load": 1.0, "distinct": case.batch_size, "parts": {}}
    return {"strategy": strategy, **sizes, **spent, **changes}


def test_sizes_and_limits_are_those_that_were_asked_for() -> None:
    auto, search = CASES["auto"], CASES["autoal"]
    assert (auto.width, auto.batch_size, auto.wall_s, auto.memory) == (512, 10_000, 120, 2e9)
    assert (search.width, search.batch_size, search.wall_s, search.memory) == (512, 10_000, 60, 4e9)
    assert len(set(search.options["candidates"])) == 8


def test_a_search_is_judged_beside_the_scoring_of_its_candidates() -> None:
    slow = record("autoal", wall_s=300.0, cpu_s=300.0, parts={"seconds_scoring": 250.0})
    assert counted_s(slow) == 50.0 and verdict(slow) == "pass"
    assert "50 s ≤ 60 s besides scoring" in line(slow)
    assert verdict(slow | {"parts": {"seconds_scoring": 230.0}}) == "FAIL (wall)"
    assert counted_s(record("auto", wall_s=110.0, parts={"seconds_scoring": 100.0})) == 110.0


def test_what_only_other_work_explains_and_memory_are_told() -> None:
    late = record("auto", wall_s=300.0, cpu_s=80.0)
    assert verdict(late) == "FAIL (wall)" and verdict(late | {"load": 9.0}) == "FAIL (wall, on a busy machine)"
    assert verdict(record("auto", peak=2.1e9)) == "FAIL (memory)"
    assert verdict({"strategy": "auto", "failed": "killed"}) == "failed: killed"


def test_new_figures_take_the_place_of_old_ones(tmp_path: Path) -> None:
    keep([record("autoal"), record("auto", wall_s=1.0)], tmp_path)
    keep([record("auto", wall_s=2.0), {"strategy": "dpp", "failed": "killed"}], tmp_path)
    kept = json.loads((tmp_path / "million.json").read_text())["records"]
    assert [(r["strategy"], r["wall_s"]) for r in kept] == [("auto", 2.0), ("autoal", 10.0)]
    assert (tmp_path / "million.md").read_text().count("**pass**") == 2
