"""Facts about the summary of a benchmark, by hand."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from poolwise.bench.compare import compare
from poolwise.bench.compare import to_rich as changes_to_rich
from poolwise.bench.results import SCHEMA, Results, read_results, write_results
from poolwise.bench.table import losers, summarise, to_dict, to_markdown, to_rich, winners
from poolwise.errors import InputError, UnknownNameError


def made(curves, labels=(10, 20, 40), dataset="birds", digest="same"):
    """Rows with given accuracies: strategy -> list of one curve a seed."""
    rows = []
    for strategy, seeds in curves.items():
        for seed, curve in enumerate(seeds):
            for number, (n, accuracy) in enumerate(zip(labels, curve, strict=True)):
                row = dict.fromkeys(SCHEMA.names, 0.0) | {
                    "dataset": dataset,
                    "strategy": strategy,
                    "strategy_name": strategy,
                    "options": "{}",
                    "oracle": strategy == "oracle",
                    "seed": seed,
                    "round": number,
                    "n_labeled": n,
                    "accuracy": accuracy,
                    "classes_seen": 3,
                    "seconds_query_cpu": 2.0 if number else 100.0,
                    "chosen_by": "strategy" if number else "random",
                    "labeled_digest": f"{digest}{seed}",
                }
                rows.append(row)
    return Results(tuple(rows), {"baseline": "random"}, {"numpy": "2"})


NOISE = [-0.01, 0.0, 0.01, 0.004, -0.004, 0.002]
RANDOM = [[0.5 + e, 0.6 + e, 0.7 + e] for e in NOISE]
BETTER = [[0.5 + e, 0.7 + e + e / 10, 0.8 + e] for e in NOISE]
WORSE = [[0.5 + e, 0.55 + e + e / 10, 0.6 + e] for e in NOISE]


def test_areas_and_differences_by_hand():
    lines = {line.strategy: line for line in summarise(made({"random": RANDOM, "better": BETTER}))}
    # (10 * 0.55 + 20 * 0.65) / 30 and (10 * 0.6 + 20 * 0.75) / 30; the noise has mean 1/3000
    mean = np.mean(NOISE)
    assert lines["random"].aubc.mean == pytest.approx((10 * 0.55 + 20 * 0.65) / 30 + mean)
    assert lines["better"].against.difference.mean == pytest.approx((10 * 0.05 + 20 * 0.1) / 30 + mean / 20)
    assert lines["random"].against is None
    assert lines["better"].against.verdict() == "better"
    assert lines["better"].final == pytest.approx(0.8 + mean)
    assert lines["better"].labels_to_match == pytest.approx(20, abs=0.1)
    assert lines["random"].labels_to_match == pytest.approx(40)
    assert lines["better"].match_low <= lines["better"].labels_to_match <= lines["better"].match_high < 21
    assert lines["better"].seconds_query == 2.0  # the random start is no query of the strategy


def test_p_values_are_corrected_within_a_data_set():
    lines = summarise(made({"random": RANDOM, "better": BETTER, "worse": WORSE, "same": RANDOM}))
    for line in lines:
        if line.strategy in ("better", "worse"):
            assert line.against.p_holm >= 2 * line.against.p
    assert [line.strategy for line in lines] == ["better", "random", "same", "worse"]


def test_markdown_says_who_loses():
    results = made({"random": RANDOM, "better": BETTER, "worse": WORSE, "oracle": BETTER})
    lines = summarise(results)
    text = to_markdown(lines, results)
    assert "**Loses to random: worse.**" in text
    assert "Better than random: better." in text
    assert "oracle (oracle)" in text
    assert losers(lines) == {"birds": ["worse"]}
    assert winners(lines) == {"birds": ["better"]}


def test_machine_form_is_json_without_infinities():
    results = made({"random": RANDOM[:1], "worse": WORSE[:1]})  # one seed: unbounded interval, target never reached
    form = json.loads(json.dumps(to_dict(summarise(results), results), allow_nan=False))
    worse = next(row for row in form["table"] if row["strategy"] == "worse")
    assert worse["labels_to_match"] is None
    assert worse["against"]["difference"]["low"] is None
    assert worse["against"]["verdict"] == "unclear"
    assert "[one seed]" in to_markdown(summarise(results), results)


def test_a_failed_run_takes_its_partner_out_of_the_comparison():
    results = made({"random": RANDOM, "better": BETTER[:4]})
    line = next(line for line in summarise(results) if line.strategy == "better")
    assert line.n_seeds == line.against.difference.n == 4


def test_terminal_table_has_a_row_for_each_strategy():
    console = Console(width=200, record=True, file=io.StringIO())
    for table in to_rich(summarise(made({"random": RANDOM, "better": BETTER}))):
        console.print(table)
    assert "better" in console.export_text()


def test_summary_without_baseline_or_rows_is_refused():
    with pytest.raises(UnknownNameError, match="random"):
        summarise(made({"better": BETTER}))
    with pytest.raises(InputError, match="no benchmark results"):
        summarise(Results(()))


def test_results_survive_a_file(tmp_path):
    results = made({"random": RANDOM})
    write_results(results, tmp_path / "results.parquet")
    again = read_results(tmp_path)
    assert again.settings == {"baseline": "random"}
    assert [row["accuracy"] for row in again.rows] == [row["accuracy"] for row in results.rows]
    with pytest.raises(InputError, match="no benchmark results at"):
        read_results(tmp_path / "nothing.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not a file of benchmark results"):
        read_results(tmp_path / "bad.parquet")


def test_comparison_of_two_files_is_paired_where_the_runs_began_alike():
    old, new = made({"a": RANDOM, "gone": RANDOM}), made({"a": BETTER, "new": BETTER})
    got = compare(old, new)
    (change,) = got.changes
    assert change.paired
    assert change.difference.mean == pytest.approx((10 * 0.05 + 20 * 0.1) / 30 + np.mean(NOISE) / 20)
    assert change.p_holm < 1e-6
    assert got.only_a == (("birds", "gone"),)
    assert got.only_b == (("birds", "new"),)
    unpaired = compare(old, made({"a": BETTER}, digest="other")).changes[0]
    assert not unpaired.paired
    assert unpaired.difference.mean == pytest.approx(change.difference.mean)
    width = [c.difference.high - c.difference.low for c in (change, unpaired)]
    assert width[1] > 3 * width[0]
    json.dumps(got.to_dict(), allow_nan=False)
    assert changes_to_rich(got).row_count == 1


def test_curves_over_other_labels_are_not_compared():
    with pytest.raises(InputError, match="same labels"):
        compare(made({"a": RANDOM}), made({"a": RANDOM}, labels=(10, 20, 50)))
    with pytest.raises(InputError, match="nothing to compare"):
        compare(made({"a": RANDOM}), made({"b": RANDOM}))
