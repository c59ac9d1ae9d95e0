"""Facts about suites: read from TOML, refused with the key and the nearest valid one."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from poolwise.bench.suite import load_suite, make_suite
from poolwise.cli.bench import bench_app
from poolwise.errors import InputError, OptionError, UnknownNameError
from poolwise.train.learners import NamedLearner

TOML = """
seeds = [3, 5]
strategies = ["random", {name = "coreset", label = "k-center"}]

[learner]
class_weight = "balanced"

[[datasets]]
task = "fashion_demo:pool=500"
initial = {strategy = 20}
batch_size = 10
rounds = 4

[[datasets]]
task = "mnist"
batch_size = 50
rounds = 2
label = "digits"
learner = {name = "knn"}
"""


def test_a_file_becomes_records(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(TOML)
    suite = load_suite(path)
    assert suite.name == "small"
    assert suite.seeds == (3, 5)
    assert [s.label for s in suite.strategies] == ["random", "k-center"]
    assert suite.learner.class_weight == "balanced"
    first, second = suite.datasets
    assert (first.start, first.initial, first.label) == ("strategy", 20, "fashion_demo:pool=500")
    assert (second.start, second.initial, second.label) == ("random", 50, "digits")
    assert first.learner is None and second.learner == NamedLearner("knn")
    assert suite.n_cells == 8


def change(toy_suite, **keys):
    return {**toy_suite, **keys}


@pytest.mark.parametrize(
    ("keys", "error", "says"),
    [
        ({"seed": 3}, OptionError, "unknown key 'seed'; did you mean 'seeds'"),
        ({"seeds": 0}, OptionError, "'seeds' must be a whole number of at least 1; got 0"),
        ({"seeds": [1, 1]}, OptionError, "different numbers"),
        ({"strategies": ["random", "margni"]}, UnknownNameError, "did you mean 'margin'"),
        ({"strategies": ["random", "random"]}, OptionError, "'random' twice"),
        ({"strategies": []}, OptionError, "'strategies' must be a list"),
        ({"strategies": ["margin"]}, OptionError, "baseline 'random' is not among"),
        ({"strategies": ["random", {"name": "margin", "options": {"k": 1}}]}, OptionError, "no option 'k'"),
        ({"learner": {"folds": 1}}, OptionError, "learner: folds must be"),
        ({"learner": {"fold": 3}}, OptionError, "did you mean 'folds'"),
        ({"learner": {"strength": "big"}}, OptionError, "'strength' must be a number"),
        ({"datasets": [{"task": "mnits", "batch_size": 5, "rounds": 1}]}, UnknownNameError, "did you mean 'mnist'"),
        ({"datasets": [{"task": "mnist:pol=5", "batch_size": 5, "rounds": 1}]}, OptionError, "pool"),
        ({"datasets": [{"task": "mnist", "batchsize": 5, "rounds": 1}]}, OptionError, "did you mean 'batch_size'"),
        (
            {"datasets": [{"task": "mnist", "batch_size": 5, "rounds": 1, "learner": {"name": "knm"}}]},
            UnknownNameError,
            "datasets[0]: learner: no learner named 'knm'; did you mean 'knn'",
        ),
        ({"datasets": [{"task": "mnist", "batch_size": 5}]}, OptionError, "'rounds' is missing"),
        ({"datasets": [{"task": "mnist", "batch_size": 5, "rounds": 1, "initial": {}}]}, OptionError, "random = n"),
    ],
)
def test_mistakes_are_named(toy_suite, keys, error, says):
    with pytest.raises(error) as caught:
        make_suite(change(toy_suite, **keys))
    assert says in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InputError, match="no suite file"):
        load_suite(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(InputError, match="cannot be read"):
        load_suite(tmp_path / "bad.toml")


def test_the_suite_of_the_guide_can_be_loaded(tmp_path):
    guide = Path(__file__).resolve().parents[2] / "docs" / "guide" / "benchmarks.md"
    text = guide.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    (tmp_path / "mine.toml").write_text(text)
    suite = load_suite(tmp_path / "mine.toml")
    assert suite.strategies[-1].label == "typiclust(n_neighbors=10)"
    assert suite.datasets[0].initial == 20


def test_the_engine_of_the_command_line_is_the_one_that_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini.toml").write_text(
        'seeds = 1\nstrategies = ["random"]\n'
        '[[datasets]]\ntask = "test_blobs"\ninitial = 10\nbatch_size = 5\nrounds = 1\n'
    )
    answer = CliRunner().invoke(bench_app, ["mini.toml", "--engine", "rey"])
    assert isinstance(answer.exception, UnknownNameError)
    assert "did you mean 'ray'" in str(answer.exception)
    answer = CliRunner().invoke(bench_app, ["mini.toml", "--address", "auto"])
    assert isinstance(answer.exception, OptionError)


@pytest.mark.parametrize("words", [["tabular"], ["run", "tabular"]])
def test_the_tabular_benchmark_takes_an_engine_too(words, shared_data):
    options = ["--engine", "rey", "--seeds", "1", "--data-dir", str(shared_data / "tabular")]
    answer = CliRunner().invoke(bench_app, [*words, *options])
    assert "did you mean 'ray'" in str(answer.exception)


def test_a_fresh_tabular_run_is_another_folder():
    answer = CliRunner().invoke(bench_app, ["run", "tabular", "--fresh"])
    assert isinstance(answer.exception, OptionError) and "--out" in str(answer.exception)
