"""Facts about the suites that are run by name, and about what the suite format can say."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from poolwise.bench import run
from poolwise.bench.fits import _fits
from poolwise.bench.suite import BUNDLED, bundled_names, describe, load_suite, make_suite
from poolwise.cli.bench import bench_app
from poolwise.errors import InputError, OptionError, UnknownNameError
from poolwise.train.learners import NAMED

NAMES = ["deep-features", "long-tail", "low-budget", "noisy-oracle", "open-set", "text"]


def test_the_suites_of_the_list_are_there():
    assert bundled_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_suite_is_found_by_its_name_and_says_what_it_is(name):
    suite = load_suite(name)
    row = describe(suite)
    assert suite.name == row["suite"] == name
    assert suite.about
    assert row["minutes"] > 0
    assert row["runs"] == len(suite.datasets) * len(suite.strategies) * len(suite.seeds)
    assert all(use.resample < 1 for use in suite.datasets)


def test_a_file_of_the_same_name_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text((BUNDLED / "open-set.toml").read_text())
    assert load_suite("text").name == "open-set"


def test_a_name_that_is_nearly_right_is_corrected():
    with pytest.raises(InputError, match="did you mean 'long-tail'"):
        load_suite("longtail")


def test_the_list_has_every_suite_and_the_tabular_protocol():
    answer = CliRunner().invoke(bench_app, ["list", "--json"])
    rows = json.loads(answer.stdout)["suites"]
    assert [row["suite"] for row in rows] == sorted([*NAMES, "tabular"])
    text = CliRunner().invoke(bench_app, ["list"]).stdout
    assert all(name in text for name in NAMES)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_every_named_learner_runs_a_suite(toy_suite, name):
    results = run({**toy_suite, "learner": {"name": name}, "strategies": ["random", "margin"], "seeds": 1})
    assert not results.failures
    assert results.column("accuracy", strategy="margin")[-1] > 0.5
    assert results.column("temperature", strategy="margin") == [None] * 4


def change(toy_suite, dataset=None, **keys):
    return {**toy_suite, "datasets": [{**toy_suite["datasets"][0], **(dataset or {})}], **keys}


@pytest.mark.parametrize(
    ("dataset", "keys", "error", "says"),
    [
        ({"resample": 0}, {}, OptionError, "'resample' must be a number from 0.01 to 1; got 0"),
        ({"noise": 1}, {}, OptionError, "'noise' must be a number from 0 to 0.95"),
        ({"foreign": "half"}, {}, OptionError, "'foreign' must be a number"),
        ({"long_tail": True}, {}, OptionError, "'long_tail' must be a number"),
        ({"noise": float("nan")}, {}, OptionError, "got nan"),
        ({"resampel": 0.5}, {}, OptionError, "did you mean 'resample'"),
        ({}, {"learner": {"name": "svm"}}, UnknownNameError, "learner: no learner named 'svm'"),
        ({}, {"learner": {"name": "knn", "folds": 3}}, OptionError, "'folds' is for the linear probe"),
        ({}, {"learner": {"name": "knn"}, "strategies": ["random", "mase"]}, OptionError, "weights of a linear model"),
        (
            {},
            {"strategies": ["random", {"name": "margin", "ood": "answer"}]},
            UnknownNameError,
            "did you mean 'answers'",
        ),
        ({}, {"minutes": -1}, OptionError, "'minutes' must be a number of at least 0"),
        ({}, {"modules": "os"}, OptionError, "'modules' must be a list"),
        ({}, {"modules": ["no_such_module"]}, InputError, "'no_such_module' of the suite cannot be imported"),
    ],
)
def test_mistakes_name_the_key(toy_suite, dataset, keys, error, says):
    with pytest.raises(error) as caught:
        make_suite(change(toy_suite, dataset, **keys))
    assert says in str(caught.value)


def test_the_first_fit_serves_all_strategies_of_a_seed(toy_suite):
    _fits.clear()
    results = run({**toy_suite, "seeds": 2})
    for seed in (0, 1):
        assert len(set(results.column("seconds_fit", seed=seed, round=0))) == 1  # the clock ran once
        assert len(set(results.column("seconds_fit", seed=seed, round=1))) == 4
