"""How many seeds are enough, from a run; and comparisons of the tabular benchmark's files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from poolwise.bench.areas import read_curves
from poolwise.bench.compare import compare
from poolwise.bench.power import seeds_for
from poolwise.bench.results import write_results
from poolwise.bench.tabular.results import PUBLISHED_SETTING, Row, append_rows
from poolwise.cli.bench import bench_app
from poolwise.errors import InputError, OptionError, UnknownNameError

from .test_table import made

GAPS = [0.01, 0.0, 0.02, -0.01, 0.03]
RUN = made({"random": [[0.5, 0.6, 0.7]] * 5, "margin": [[0.5 + g, 0.6 + g, 0.7 + g] for g in GAPS]})


def row(strategy: str, seed: int, accuracy: list[float], setting: str = PUBLISHED_SETTING, data: str = "d") -> Row:
    return Row(
        "toy", strategy, seed, setting, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 100, (20, 21, 22),
        tuple(round(100 * a) for a in accuracy), (20, 21), f"c-{data}",
    )  # fmt: skip


def test_power_and_seeds_are_those_of_the_paired_t_test() -> None:
    (need,) = seeds_for(RUN, effect=0.01).lines
    spread = np.std(GAPS, ddof=1)
    assert (need.n_seeds, need.difference, need.spread) == (5, pytest.approx(0.01), pytest.approx(spread))

    def probability(n: int, sd: float) -> float:  # by drawing the t statistic
        rng = np.random.default_rng(1)
        z = rng.normal(0.01 / sd * np.sqrt(n), 1, 100_000) / np.sqrt(rng.chisquare(n - 1, 100_000) / (n - 1))
        return float((np.abs(z) > stats.t.ppf(0.975, n - 1)).mean())

    assert need.power == pytest.approx(probability(5, spread), abs=0.01)
    assert need.seeds is not None and need.seeds_cautious is not None
    assert probability(need.seeds, spread) >= 0.79 > probability(need.seeds - 1, spread) - 0.02
    assert need.seeds < need.seeds_cautious


def test_a_difference_that_does_not_vary_needs_two_seeds_and_one_seed_says_nothing() -> None:
    sure = made({"random": [[0.5, 0.6, 0.7]] * 3, "margin": [[0.6, 0.7, 0.8]] * 3})
    assert seeds_for(sure).lines[0].seeds == 2
    (need,) = seeds_for(made({"random": [[0.5, 0.6, 0.7]], "margin": [[0.6, 0.7, 0.8]]})).lines
    assert (need.spread, need.power, need.seeds, need.seeds_cautious) == (None,) * 4


def test_other_baselines_effects_and_files_are_answered_or_refused() -> None:
    assert [line.strategy for line in seeds_for(RUN, baseline="margin").lines] == ["random"]
    with pytest.raises(UnknownNameError, match="'margin'"):
        seeds_for(RUN, baseline="margn")
    with pytest.raises(OptionError, match="effect must be above 0"):
        seeds_for(RUN, effect=0.0)
    with pytest.raises(InputError, match="no strategy shares"):
        seeds_for(made({"random": [[0.5, 0.6, 0.7]]}))


def test_the_command_prints_points_and_json(tmp_path: Path) -> None:
    write_results(RUN, tmp_path / "results.parquet")
    answer = CliRunner().invoke(bench_app, ["power", str(tmp_path), "--effect", "1"])
    assert answer.exit_code == 0
    assert "Seeds to see 1 points over random with 80 % probability" in answer.stdout
    assert "+1.00" in answer.stdout
    form = json.loads(CliRunner().invoke(bench_app, ["power", str(tmp_path), "--effect", "1", "--json"]).stdout)
    assert form["effect"] == 0.01 and form["lines"][0]["seeds"] == seeds_for(RUN, effect=0.01).lines[0].seeds


def test_rows_of_the_tabular_benchmark_are_compared_in_pairs(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    curves = [[0.5, 0.6, 0.7], [0.4, 0.6, 0.7], [0.5, 0.5, 0.8]]
    append_rows(old / "rows.jsonl", [row("us", s, c) for s, c in enumerate(curves)])
    append_rows(old / "rows.jsonl", [row("us", 0, [0.9, 0.9, 0.9])])  # the newest of equal runs counts
    append_rows(new / "rows.jsonl", [row("us", s, [a + 0.1 for a in c]) for s, c in enumerate(curves)])
    append_rows(new / "rows.jsonl", [row("us", 0, curves[0], "svm-rbf, batch 1, budget 2, initial 20")])
    found = compare(old, new / "rows.jsonl")
    (change,) = found.changes
    assert change.paired
    assert change.difference.mean == pytest.approx((0.7 - 0.9 + 0.1 + 0.1) / 3)
    assert found.only_b == (("toy (svm-rbf, batch 1, budget 2, initial 20)", "us"),)
    append_rows(new / "rows.jsonl", [row("us", s, c, data="other") for s, c in enumerate(curves)])
    assert not compare(old, new).changes[0].paired


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no benchmark results"):
        read_curves(tmp_path)
    (tmp_path / "rows.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="holds no rows"):
        read_curves(tmp_path)
    assert read_curves(RUN) is RUN
