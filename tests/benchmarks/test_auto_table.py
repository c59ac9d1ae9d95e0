"""The page about choices among strategies says what its numbers say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import auto_runs, auto_table
from poolwise.bench.suite import load_suite

NAMES = {"random": "random", "margin": "margin", "uherding": "uherding", "auto": "auto", "look": "look"}
SEEDS = 6


def level(setting: int, name: str) -> float:
    """Accuracy that a strategy reaches: margin is best in setting 0, uherding in the others, auto beats both."""
    best = {"random": 0.5, "margin": 0.7 if setting == 0 else 0.55, "uherding": 0.6, "auto": 0.72, "look": 0.58}
    return best[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "cells").mkdir()
    for d in range(3):
        for label, name in NAMES.items():
            for seed in range(SEEDS if label != "look" else 4):
                rows = []
                for r in range(3):
                    noise = float(rng.normal(scale=0.004))
                    accuracy = level(d, label) * (r + 1) / 3 + noise
                    rows.append(
                        {
                            "dataset": f"set {d}",
                            "strategy": label,
                            "strategy_name": name,
                            "seed": seed,
                            "round": r,
                            "n_labeled": 10 * (r + 1),
                            "n_foreign": 0,
                            "classes_seen": 3 if d else 6,
                            "strength": None if d == 2 else 0.1,
                            "accuracy": accuracy,
                            "seconds_query_cpu": 0.1 * r,
                            "expected_gain": None if label != "look" or r == 0 else accuracy - rows[-1]["accuracy"],
                        }
                    )
                path = tmp_path / "cells" / f"{d}-{label}-{seed}.json"
                path.write_text(json.dumps({"key": "x", "rows": rows[::-1]}))
    return tmp_path


def area(folder: Path, setting: int, name: str, seeds: int) -> float:
    values = []
    for seed in range(seeds):
        rows = json.loads((folder / "cells" / f"{setting}-{name}-{seed}.json").read_text())["rows"][::-1]
        a = [row["accuracy"] for row in rows]
        values.append(100 * (a[0] / 2 + a[1] + a[2] / 2) / 2)
    return float(np.mean(values))


def test_strategies_with_fewer_seeds_come_in_a_part_of_their_own(folder: Path) -> None:
    first, second = auto_runs.parts(auto_runs.read_runs(folder))
    assert "look" not in first.strategies and len(first.seeds) == SEEDS
    assert "look" in second.strategies and len(second.seeds) == 4
    assert {first.strategies[k] for k in first.candidates} == {"margin", "uherding"}
    assert first.seconds[first.strategies.index("auto")] == pytest.approx(0.15)


def test_regret_and_the_transferred_candidate_equal_plain_loops(folder: Path) -> None:
    part = auto_runs.parts(auto_runs.read_runs(folder))[0]
    for d in range(3):
        best = max(area(folder, d, k, SEEDS) for k in ("margin", "uherding"))
        for k in ("random", "margin", "auto"):
            got = part.regret[d, part.strategies.index(k)]
            assert got == pytest.approx(best - area(folder, d, k, SEEDS))
        gains = {
            k: np.mean([area(folder, e, k, SEEDS) - area(folder, e, "random", SEEDS) for e in range(3) if e != d])
            for k in ("margin", "uherding")
        }
        chosen = max(gains, key=lambda k: gains[k])
        assert part.of(auto_runs.TRANSFERRED)[d].mean() == pytest.approx(area(folder, d, chosen, SEEDS))
    assert part.of(auto_runs.TRANSFERRED)[0].mean() == pytest.approx(area(folder, 0, "uherding", SEEDS))


def test_the_page_tells_goals_controls_and_foresight(folder: Path) -> None:
    text = auto_table.page(folder)
    assert text.count("- met: the best mean rank (1.0)") == 2
    assert "NOT met" not in text
    assert "| look | one at random |" not in text  # the control was not run
    assert "- look: +1.00" in text
    assert "4 strategies" not in text and "## 5 strategies, 6 seeds" in text and "## 6 strategies, 4 seeds" in text


def test_settings_are_told_apart_by_first_labels_and_by_head(folder: Path) -> None:
    part = auto_runs.parts(auto_runs.read_runs(folder))[0]
    assert {name: inside.tolist() for name, inside in part.groups.items()} == {
        "low budget": [True, False, False],  # 10 labels of 6 classes, then of 3
        "middle budget": [False, True, True],
        "linear head": [True, True, False],
        "other head": [False, False, True],
    }
    rows = {line.split(" | ")[0]: line for line in auto_table.apart(part)}
    best = np.mean([area(folder, d, "auto", SEEDS) - area(folder, d, "random", SEEDS) for d in (1, 2)])
    assert f"| 1.0, {best:+.2f} |" in rows["| auto"]


def test_one_strategy_for_all_is_chosen_without_looking_at_the_setting(folder: Path) -> None:
    part = auto_runs.parts(auto_runs.read_runs(folder))[0]
    single, _, every = auto_table.fixed_choice(part)
    assert "uherding 1 times" in single and "margin 2 times" in single  # margin is best in set 0 by far
    assert "auto 3 times" in every and "minus it +0.00" in every


def test_learned_weights_are_useful_only_if_ahead_of_equal_ones(folder: Path) -> None:
    for path in sorted((folder / "cells").glob("*.json")):
        setting, name, seed = path.stem.split("-")
        rows = json.loads(path.read_text())["rows"]
        for label, source, lead in (("autoal", "margin", 0.02), ("equal weights", "margin", 0.0)):
            if name == source:
                made = [row | {"strategy": label, "accuracy": row["accuracy"] + lead} for row in rows]
                (folder / "cells" / f"{setting}-{label}-{seed}.json").write_text(json.dumps({"rows": made}))
    text = auto_table.page(folder)
    assert "- autoal: useful, it is ahead compared with equal weights" in text
    assert "any of the union, equal weights, diverse" in text  # controls that were not run


def test_every_control_is_in_the_suite() -> None:
    suite = load_suite(Path(__file__).parents[2] / "benchmarks" / "suites" / "auto.toml")
    labels = {use.label for use in suite.strategies}
    assert {*auto_table.CONTROLS} - {auto_runs.TRANSFERRED} <= labels
    assert {name for pair in auto_table.PAIRS for name in pair} <= labels


def test_too_little_is_said_so(folder: Path) -> None:
    for path in (folder / "cells").glob("*-auto-*.json"):
        path.unlink()
    with pytest.raises(SystemExit, match="wait"):
        auto_table.page(folder)
