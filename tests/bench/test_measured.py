"""Facts about the summary of the zoo benchmarks that travels in the package."""

from __future__ import annotations

import json

import numpy as np
import pytest

from poolwise.bench.measured import FILE, compress, conclusion, load, of_strategy, tally, unpack, written
from poolwise.bench.results import Results

SEEDS = 8


def row(dataset, strategy, name, seed, number, accuracy, *, oracle=False):
    return {
        "dataset": dataset,
        "strategy": strategy,
        "strategy_name": name,
        "oracle": oracle,
        "seed": seed,
        "round": number,
        "n_labeled": 10 * (number + 1),
        "n_foreign": 0,
        "accuracy": accuracy,
        "mean_class_accuracy": accuracy,
        "class_entropy": 1.0,
        "seconds_query_cpu": 0.1,
        "chosen_by": "strategy",
    }


def results() -> Results:
    """A strategy that is 4 points better in both rounds, one that is worse, a variant, an oracle, and random."""
    rng = np.random.default_rng(0)
    shifts = {
        ("random", "random"): 0.0,
        ("good", "margin"): 0.04,
        ("entropy", "entropy"): -0.04,
        ("entropy(ood=answers)", "entropy"): 0.02,
        ("mase", "mase"): 0.0,
        ("truth", "balanced_random"): 0.1,
    }
    rows = []
    for seed in range(SEEDS):
        for (label, name), shift in shifts.items():
            for number in range(2):
                value = 0.5 + 0.05 * seed + shift + 0.001 * rng.normal() * (shift != 0)
                value += 0.01 * (-1) ** seed * (label == "mase")
                rows.append(row("a", label, name, seed, number, value, oracle=label == "truth"))
    return Results(tuple(rows), {"name": "toy", "about": "A toy.", "baseline": "random"})


@pytest.fixture
def measured():
    return unpack(json.loads(json.dumps(compress([results()]))))


def test_differences_are_paired_and_places_count_no_oracle(measured):
    found = {m.label: m for m in measured}
    assert found["good"].points == pytest.approx(4, abs=0.1)
    assert found["good"].low < found["good"].points < found["good"].high < found["good"].low + 0.5
    assert (found["good"].place, found["entropy"].place, found["truth"].place) == (1, 5, None)
    assert {m.of for m in measured} == {5}
    assert {m.seeds for m in measured} == {SEEDS}
    assert found["good"].strategy == "margin"
    verdicts = {m.label: m.verdict for m in measured}
    assert verdicts == {
        "random": "baseline",
        "good": "better",
        "entropy": "worse",
        "entropy(ood=answers)": "better",
        "mase": "unclear",
        "truth": "better",
    }


def test_a_strategy_that_never_wins_says_so_and_which_variant_does(measured):
    text = conclusion("entropy", measured)
    assert "It never wins:** it beats random on none of 1 data sets and loses to it on 1." in text
    assert "`entropy(ood=answers)`" in text
    assert "loses to it on none" in conclusion("mase", measured)
    assert "never wins" not in conclusion("margin", measured)
    assert "Best of all on: a (toy)" in conclusion("margin", measured)


def test_the_baseline_an_oracle_and_what_was_not_run_are_called_so(measured):
    assert conclusion("random", measured) == "It is what the others are compared with."
    assert conclusion("balanced_random", measured, oracle=True).startswith("It reads true labels")
    assert conclusion("bait", measured) == "It has no row in the committed benchmarks."
    assert tally("random", measured) is tally("bait", measured) is None
    assert tally("entropy", measured) == (0, 1, 1)


def test_the_default_comes_before_the_variants(measured):
    assert [m.label for m in of_strategy("entropy", measured)] == ["entropy", "entropy(ood=answers)"]


def test_one_seed_has_no_interval(measured):
    one = Results(tuple(r for r in results().rows if r["seed"] == 0), {"name": "toy"})
    found = {m.label: m for m in unpack(compress([one]))}
    assert written(found["good"]).endswith("[one seed]")
    assert {m.verdict for m in found.values()} == {"baseline", "unclear"}
    assert written(found["random"]) == "-"


def test_what_is_in_the_package_can_be_read():
    assert list(load()) == unpack(json.loads(FILE.read_text(encoding="utf-8")))
    assert FILE.stat().st_size < 100_000
