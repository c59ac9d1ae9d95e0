"""Facts about leaderboards: what is ranked, what is joined, what is refused, and a page that stands alone."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from poolwise.bench import Results, write_results
from poolwise.bench.leaderboard import ALL, leaderboard
from poolwise.cli.bench import bench_app
from poolwise.errors import InputError
from poolwise.report.charts.ranks import rank_rows
from poolwise.report.charts.svg import NARROW
from poolwise.report.leaderboard import leaderboard_page
from poolwise.stats.ranks import critical_difference


def row(dataset, strategy, seed, number, accuracy, **keys):
    return {
        "dataset": dataset, "strategy": strategy, "strategy_name": strategy, "options": "{}", "oracle": False,
        "seed": seed, "round": number, "n_labeled": 10 * (number + 1), "n_foreign": 0, "accuracy": accuracy,
        "mean_class_accuracy": accuracy, "log_loss": 1.0, "class_entropy": 1.0, "imbalance_ratio": 1.0,
        "classes_seen": 2, "seconds_query": 0.1, "seconds_query_cpu": 0.1, "seconds_fit": 0.1, "temperature": 1.0,
        "strength": 1.0, "chosen_by": "strategy" if number else "random", "labeled_digest": "a",
    } | keys  # fmt: skip


def results(name, levels, seeds=3, digest="d", **keys):
    """`levels`: data set -> strategy -> accuracy after round 1; every seed adds a little to all alike."""
    rows = [
        row(dataset, strategy, seed, number, 0.5 + number * (level - 0.5) + 0.001 * seed * (1 + number * level), **keys)
        for dataset, found in levels.items()
        for strategy, level in found.items()
        for seed in range(seeds)
        for number in (0, 1)
    ]
    settings = {
        "name": name,
        "datasets": [{"label": dataset} for dataset in levels],
        "data_digests": dict.fromkeys(levels, digest),
    }
    return Results(tuple(rows), settings, {"poolwise": "0.1"})


ONE = {"x": {"random": 0.6, "a": 0.7, "b": 0.65}, "y": {"random": 0.6, "a": 0.8, "b": 0.5}}
TWO = {"z": {"random": 0.6, "a": 0.55}}


def test_ranks_wins_and_penalties_are_those_counted_by_hand():
    board = leaderboard([results("one", ONE)])
    (group,) = board.groups
    assert group.strategies == ("a", "b", "random")
    assert group.ranks == (1.0, 2.5, 2.5)
    assert group.wins[0, 1].tolist() == [2, 0, 0]
    assert group.wins[1, 2].tolist() == [1, 0, 1]
    # after round 1 the differences of a and b are nearly the same in all seeds; before it there is none
    assert group.penalty[0, 1] == pytest.approx(0.5 + 0.5)
    assert group.penalty[1, 0] == 0
    assert group.picture.n == 2


def test_a_strategy_that_ran_on_part_of_a_group_is_not_ranked_there():
    board = leaderboard([results("one", ONE), results("two", TWO)])
    everything, one, two = board.groups
    assert everything.name == ALL
    assert everything.strategies == ("a", "random")
    assert everything.unranked == (("b", 2),)
    assert set(one.strategies) == {"a", "b", "random"}
    assert two.strategies == ("random", "a")
    assert two.picture is None


def test_oracles_are_shown_but_not_ranked():
    base = results("one", {"x": {"random": 0.6, "a": 0.7}})
    oracle = results("one", {"x": {"o": 0.9}}, oracle=True)
    board = leaderboard([base, oracle])
    assert board.groups[0].strategies == ("a", "random")
    assert [line.strategy for line in board.datasets[0].lines] == ["o", "a", "random"]


def test_files_of_one_suite_are_joined_and_paired():
    late = results("one", {"x": {"late": 0.9}, "y": {"late": 0.9}})
    board = leaderboard([results("one", ONE), late])
    assert len(board.groups) == 1
    assert board.groups[0].strategies[0] == "late"
    line = board.datasets[0].lines[0]
    assert line.against.difference.mean == pytest.approx((0.9 - 0.6) / 2, abs=0.001)


def test_the_same_run_twice_or_on_other_data_is_refused():
    with pytest.raises(InputError, match="both hold 'a' on 'x'"):
        leaderboard([results("one", ONE), results("one", {"x": {"a": 0.7}})])
    with pytest.raises(InputError, match="other data, settings or learners"):
        leaderboard([results("one", ONE), results("one", {"x": {"late": 0.7}}, digest="other")])
    with pytest.raises(InputError, match="at least one file"):
        leaderboard([])
    with pytest.raises(InputError, match="no rows"):
        leaderboard([Results(())])


def test_data_sets_of_the_same_name_in_two_suites_stay_apart():
    board = leaderboard([results("one", ONE), results("two", {"x": {"random": 0.6, "a": 0.9}})])
    assert [data.name for data in board.datasets] == ["x (one)", "y", "x (two)"]


def test_one_seed_and_one_strategy_make_a_page_without_intervals():
    board = leaderboard([results("one", {"x": {"random": 0.6}}, seeds=1)])
    assert board.groups[0].penalty is None
    page = leaderboard_page(board)
    assert "inf" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


def test_the_page_stands_alone_escapes_names_and_filters_without_a_script():
    evil = "<script>alert(1)</script>"
    board = leaderboard([results("one", ONE), results("two", {"z": {"random": 0.6, evil: 0.55}})])
    page = leaderboard_page(board)
    assert "<script" not in page
    assert not re.search(r"(src|href)=|https?://(?!www.w3.org/2000/svg)|@import|url\(", page)
    assert page.count('type="radio"') == 3
    for place in range(3):
        assert f"main:has(#g{place}:checked)" in page
    assert page.count("of-group in-1 in-all") == 2
    assert 'id="ranking"' in page
    assert "Mean ranks; joined strategies" in page


def test_the_command_writes_the_page_and_its_json_twin(tmp_path):
    for name, levels in (("one", ONE), ("two", TWO)):
        write_results(results(name, levels), tmp_path / name / "results.parquet")
    out = tmp_path / "new" / "page.html"
    arguments = ["leaderboard", str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(out), "--json"]
    answer = CliRunner().invoke(bench_app, arguments)
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert told["page"] == str(out)
    assert [group["name"] for group in told["groups"]] == [ALL, "one", "two"]
    assert told["groups"][1]["strategies"] == ["a", "b", "random"]
    assert np.shape(told["groups"][1]["wins"]) == (3, 3, 3)
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_on_a_phone_ranks_are_rows_with_bars_that_fit_the_screen():
    found = critical_difference(
        [[3, 2, 1], [3, 1, 2], [3, 2, 1]], ["first", "a very long name <of> a strategy", "last"]
    )
    root = ElementTree.fromstring(rank_rows(found))
    assert float(root.get("width")) == NARROW
    circles = [float(mark.get("cx")) for mark in root.iter("circle")]
    assert circles == sorted(circles)
    assert (circles[1] - circles[0]) / (circles[2] - circles[0]) == pytest.approx(
        (found.ranks[1] - found.ranks[0]) / (found.ranks[2] - found.ranks[0]), abs=0.01
    )
    bars = [mark for mark in root.iter("line") if mark.get("class") == "joined"]
    assert len(bars) == len(found.groups) == 1  # three data sets tell nothing apart
    assert max(circles) < float(bars[0].get("x1")) < NARROW
    page = leaderboard_page(leaderboard([results("one", ONE)]))
    assert '<div class="wide"><svg' in page
    assert '<div class="narrow"><svg' in page
