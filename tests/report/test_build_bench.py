"""Reports of benchmarks: the numbers are those of the rows, and nothing is claimed that they do not show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from poolwise.errors import InputError
from poolwise.report.build_bench import bench_report, describe_bench
from poolwise.report.model import DatasetResults, Setup

N = [10, 20, 40]


def rows(shift: dict[str, float], seeds: int = 6, dataset: str = "digits") -> list[dict]:
    """Curves that differ by a shift per strategy, with some noise per seed."""
    out = []
    for name, by in shift.items():
        for seed in range(seeds):
            noise = np.random.default_rng([seed, sum(map(ord, name))]).normal(0, 0.004, len(N))
            for round_, n in enumerate(N):
                out.append(
                    {
                        "dataset": dataset,
                        "strategy": name,
                        "seed": seed,
                        "round": round_,
                        "n_labeled": n,
                        "accuracy": 0.5 + 0.1 * round_ + by * (round_ > 0) + noise[round_],
                        "mean_class_accuracy": 0.5,
                        "class_entropy": 0.9,
                        "seconds_query": 0.25,
                        "seconds_fit": None,
                    }
                )
    return out


def describe(rows: list[dict]) -> DatasetResults:
    return describe_bench(rows, title="T", setup=Setup()).datasets[0]


def by_name(data: DatasetResults) -> dict:
    return {row.strategy: row for row in data.comparisons}


def test_the_winner_wins_the_loser_loses_and_the_twin_is_unclear() -> None:
    report = describe_bench(rows({"random": 0.0, "good": 0.06, "bad": -0.06, "twin": 0.0}), title="T", setup=Setup())
    found = by_name(report.datasets[0])
    assert report.datasets[0].comparisons[0].strategy == "good"
    assert {name: row.verdict for name, row in found.items()} == {
        "random": "baseline",
        "good": "better",
        "bad": "worse",
        "twin": "unclear",
    }
    said = " ".join(report.sentences)
    assert "good beats random labeling (+" in said and "bad loses to random labeling (−" in said
    assert "no difference to random labeling was shown for twin" in said


def test_several_losers_are_all_named_and_the_worst_first() -> None:
    shifts = {"random": 0.0, "bad": -0.06, "worst": -0.2, "poor": -0.04}
    said = describe_bench(rows(shifts), title="T", setup=Setup()).sentences
    assert len(said) == 1 and said[0].startswith("On digits, 3 strategies lose to random labeling: worst by most (−")
    assert said[0].endswith("then bad and poor.")


def test_difference_is_paired_and_agrees_with_a_textbook_t_test() -> None:
    data = rows({"random": 0.0, "good": 0.02})

    def areas(name: str) -> np.ndarray:
        table = np.array([[r["accuracy"] for r in data if (r["strategy"], r["seed"]) == (name, s)] for s in range(6)])
        return (10 * (table[:, 0] + table[:, 1]) / 2 + 20 * (table[:, 1] + table[:, 2]) / 2) / 30

    test = stats.ttest_rel(areas("good"), areas("random"))
    bounds = test.confidence_interval(0.95)
    row = by_name(describe(data))["good"]
    assert row.difference.value == pytest.approx((areas("good") - areas("random")).mean())
    assert (row.difference.low, row.difference.high) == pytest.approx((bounds.low, bounds.high))
    assert row.p_holm == pytest.approx(test.pvalue)
    assert row.aubc.value == pytest.approx(areas("good").mean())


def test_saved_labels_are_said_only_when_the_interval_excludes_zero() -> None:
    report = describe_bench(rows({"random": 0.0, "good": 0.06, "twin": 0.001}), title="T", setup=Setup())
    said = [sentence for sentence in report.sentences if "needed" in sentence]
    assert len(said) == 1 and "good needed" in said[0] and "random labeling had with 40" in said[0]


def test_what_is_not_reached_has_no_number() -> None:
    saving = describe(rows({"random": 0.0, "bad": -0.06})).savings[0]
    assert (saving.n_strategy, saving.saved, saving.reached_by, saving.n_seeds) == (None, None, 0, 6)


def test_one_seed_shows_curves_but_neither_bands_nor_verdicts() -> None:
    report = describe_bench(rows({"random": 0.0, "good": 0.06}, seeds=1), title="T", setup=Setup())
    data = report.datasets[0]
    assert data.curves[0].low == () and by_name(data)["good"].verdict == "unclear"
    assert not any("beat" in sentence or "needed" in sentence for sentence in report.sentences)


def test_without_random_nothing_is_compared_and_the_page_says_so() -> None:
    report = describe_bench(rows({"good": 0.06, "bad": 0.0}), title="T", setup=Setup())
    assert report.datasets[0].comparisons == () and report.datasets[0].savings == ()
    assert "random labeling was not run" in report.sentences[0]


def test_a_run_that_is_not_finished_is_compared_on_what_both_have() -> None:
    full = rows({"random": 0.0, "good": 0.06})
    part = [r for r in full if r["strategy"] == "random" or (r["seed"] < 3 and (r["seed"] < 2 or r["n_labeled"] < 40))]
    data = describe(part)
    curve = next(c for c in data.curves if c.strategy == "good")
    assert by_name(data)["good"].n_seeds == 3
    assert curve.n_labeled == (10, 20)


def test_the_last_of_repeated_rows_counts() -> None:
    data = rows({"random": 0.0}, seeds=2)
    again = [{**row, "accuracy": 0.9} for row in data]
    assert describe(data + again).curves[0].mean == pytest.approx((0.9, 0.9, 0.9))


def test_columns_that_are_missing_or_empty_leave_their_part_out() -> None:
    bare = [
        {key: row[key] for key in ("dataset", "strategy", "seed", "n_labeled", "accuracy")}
        for row in rows({"random": 0.0, "good": 0.06})
    ]
    data = describe(bare)
    assert data.entropy == () and data.costs == ()
    assert by_name(data)["good"].mean_class_accuracy is None


def test_costs_are_medians_over_rounds_and_seeds() -> None:
    cost = describe(rows({"random": 0.0})).costs[0]
    assert (cost.strategy, cost.seconds_query, cost.seconds_fit) == ("random", 0.25, None)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([], "has no results yet"),
        ([{"dataset": "d", "strategy": "s", "seed": 0, "n_labeled": 1}], "row 0 .* no column 'accuracy'"),
        ([{"dataset": "d", "strategy": "s", "seed": 0, "n_labeled": 1, "accuracy": None}], "expected a number"),
    ],
)
def test_results_that_cannot_be_used_are_named(tmp_path: Path, bad: list[dict], said: str) -> None:
    with pytest.raises(InputError, match=said):
        bench_report(bad, tmp_path / "b.html")


def test_parquet_and_rows_give_the_same_page_but_for_its_date(tmp_path: Path) -> None:
    table = rows({"random": 0.0, "good": 0.06}) + rows({"random": 0.0}, dataset="<b>other</b>")
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "results.parquet")
    one = bench_report(tmp_path / "results.parquet", tmp_path / "1.html", settings={"budget": 40}, seed=3)
    two = bench_report(table, tmp_path / "2.html", settings={"budget": 40}, seed=3)
    texts = [path.read_text(encoding="utf-8").split("<footer>")[0] for path in (one, two)]
    assert texts[0] == texts[1]
    assert "&lt;b&gt;other&lt;/b&gt;" in texts[0] and "<b>other" not in texts[0]
