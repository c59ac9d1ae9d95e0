"""What each section says, and when it says nothing."""

from __future__ import annotations

import dataclasses

import pytest

from poolwise.report.balance import balance
from poolwise.report.choice import choice
from poolwise.report.comparison import comparison
from poolwise.report.cost import cost
from poolwise.report.curves import curves
from poolwise.report.learning import learning
from poolwise.report.model import Comparison, DatasetResults, Estimate, Pick, PickedBatch, Report, RoundFacts
from poolwise.report.picks import picks
from poolwise.report.savings import savings

from .samples import bench, pool
from .test_page import Reader


def words(section, report: Report) -> str:
    return Reader(str(section(report))).text


@pytest.mark.parametrize("section", [balance, choice, comparison, cost, curves, learning, picks, savings])
def test_a_section_without_data_is_left_out(section) -> None:
    assert section(Report("Empty")) is None


@pytest.mark.parametrize(
    ("gap", "p_holm", "verdict"),
    [
        (None, None, "baseline"),
        (Estimate(0.01, 0.001, 0.02), 0.04, "better"),
        (Estimate(0.01, 0.001, 0.02), 0.06, "unclear"),
        (Estimate(0.01, 0.001, 0.02), None, "unclear"),
        (Estimate(0.01, -0.001, 0.02), 0.01, "unclear"),
        (Estimate(-0.01, -0.02, -0.001), 0.01, "worse"),
        (Estimate(0.5), 0.01, "unclear"),
    ],
)
def test_a_verdict_needs_an_interval_off_zero_and_a_small_corrected_p(gap, p_holm, verdict) -> None:
    assert Comparison("s", 5, Estimate(0.5), 0.5, difference=gap, p_holm=p_holm).verdict == verdict


def test_comparison_states_who_loses_to_random() -> None:
    said = words(comparison, bench())
    assert "bad 50.00 % 60.0 % 50.0 % \u221210.00 \u221212.00 to \u22128.00 < 0.0001 worse than random" in said
    assert "+7.50 +5.00 to +10.00 0.002 better than random" in said
    assert "no difference shown" in said


def test_savings_say_not_reached_instead_of_a_number() -> None:
    said = words(savings, bench())
    assert "margin 70.0 % 30 20 10 6 to 14 5 of 5 seeds" in said
    assert "bad 70.0 % 30 not reached – – 0 of 5 seeds" in said


def test_a_single_round_is_a_table_without_a_chart() -> None:
    one = Report("One", rounds=(RoundFacts(1, "random", 10, 10, {"accuracy": Estimate(0.5)}),))
    html = str(learning(one))
    assert "<svg" not in html and "50.0" in html


def test_rounds_without_metrics_are_still_listed() -> None:
    said = words(learning, Report("R", rounds=(RoundFacts(1, "random", 10, 10), RoundFacts(2, "margin", 20, 10))))
    assert "2 margin 10 20" in said
    assert "Accuracy after" not in said and "poolwise round" in said


def test_curves_of_different_lengths_share_one_table() -> None:
    data = bench().datasets[0]
    short = dataclasses.replace(data.curves[1], n_labeled=(10,), mean=(0.5,), low=(), high=())
    said = words(curves, Report("B", datasets=(DatasetResults("d", 1, (data.curves[0], short)),)))
    assert "30 70.0 % –" in said


def test_balance_names_missing_classes_and_gives_many_classes_a_profile() -> None:
    assert "1 of 2 classes have at least one label; a has most (3)." in words(
        balance, Report("P", class_counts={"a": 3, "b": 0})
    )
    many = {f"class {i}": i + 1 for i in range(200)}
    said = words(balance, Report("P", class_counts=many))
    assert "class 199 most (200), class 0 fewest (1)" in said and "200 classes, most to fewest" in said


def test_balance_says_nothing_before_the_first_label() -> None:
    assert balance(Report("P", class_counts={"a": 0, "b": 0})) is None


def test_picks_show_pictures_texts_or_numbers_and_say_how_many_more() -> None:
    assert "and 8 more" in words(picks, pool())
    assert "no picture" in words(picks, pool())
    assert "a text" in words(picks, pool(text="a text", image=None))
    bare = PickedBatch(1, "random", 1, (Pick(0, 5, "5"),))
    said = words(picks, Report("P", batches=(bare,)))
    assert "1 5 – not answered" in said and "more" not in said


def test_cost_divides_peoples_time_by_the_answers_that_were_timed() -> None:
    said = words(cost, pool())
    assert "1 random 10 30 s 3 s 10 ms 100 ms" in said


def test_choices_tell_shares_reasons_and_seconds_and_other_strategies_their_notes() -> None:
    auto = {"quality": 0.25, "filter": 40, "candidates": 40, "radius": 0.5, "coverage": 0.4, "seconds_search": 0.5}
    learned = {"trust": {"margin": 0.9, "b<adge": 0.1}, "search": "gain", "gain_over_equal": 0.1}
    rounds = (
        RoundFacts(1, "auto", 10, 10, seconds_select=0.75, seconds_fit=0.5, notes=auto),
        RoundFacts(2, "autoal", 20, 10, notes=learned | {"gain_of_best_candidate": 0.2, "nominated": 1234}),
        RoundFacts(3, "coreset", 30, 10, notes={"reach": 1.5, "seconds_search": 2.0}),
        RoundFacts(4, "margin", 40, 10),
    )
    html, said = str(choice(Report("x", rounds=rounds))), words(choice, Report("x", rounds=rounds))
    assert "Round 1: auto" in said and "coverage 75%, uncertainty 25%" in said
    assert "seconds: search 0.50, total 0.75; then 0.50 to fit the model to its labels" in said
    assert "margin 90%, b<adge 10%" in said and "b<adge" not in html
    assert "changed the loss by -0.1 against equal ones, the best candidate alone by -0.2" in said
    assert "1,234 items were nominated" in said
    assert "3 coreset reach: 1.5; seconds: search 2.00" in said
    assert "Round 4" not in said and "Round 3" not in said
    assert html.index('style="flex-grow: 0.75"') < html.index('style="flex-grow: 0.25"')
