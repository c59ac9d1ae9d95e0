from __future__ import annotations

import numpy as np
from benchmarks.auto_confirm import page, plan
from benchmarks.auto_runs import Part


def part_with(difference: np.ndarray) -> Part:
    area = np.zeros((len(difference), 3, 4))
    area[:, 0] = 50 + difference[:, None]
    area[:, 2] = 50
    names = [f"setting {i}" for i in range(len(difference))]
    return Part(names, ["auto", "random", "uherding"], [40, 41, 42, 43], area, [2], np.zeros(3), {})


def test_the_plan_has_the_settings_of_the_suite_and_seeds_that_the_suite_has_not() -> None:
    ours = plan()
    assert [s.label for s in ours.strategies] == ["random", "uherding", "auto"]
    assert list(ours.seeds) == list(range(40, 80))
    assert len(ours.datasets) == 19


def test_the_verdict_follows_the_interval_over_settings() -> None:
    wide = np.array([-1.0, 1.0, 0.5])
    assert ": not separable.**" in page(part_with(wide))
    assert "+1.00 [+0.75, +1.25] points: ahead.**" in page(part_with(np.array([0.9, 1.0, 1.1])))
    assert ": behind.**" in page(part_with(-np.array([0.9, 1.0, 1.1])))
    assert "better in 2 of 3 settings" in page(part_with(wide))
