"""Ordinary strategies, and those of other packages, run in the tabular benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from poolwise.bench.tabular import run_tabular
from poolwise.bench.tabular.bridge import find_strategy, log_odds
from poolwise.bench.tabular.code import code_digest
from poolwise.bench.tabular.registry import TABULAR
from poolwise.errors import OptionError, UnknownNameError
from poolwise.registry import PLUGIN_GROUP

from .conftest import blobs, cell_of

ROOT = Path(__file__).resolve().parents[3]


def orders(folder: Path, dataset: str, *names: str, **options: int) -> dict[str, list[tuple[int, ...]]]:
    rows = run_tabular([dataset], names, seeds=2, data_dir=folder, **options).rows
    return {name: [row.order for row in rows if row.strategy == name] for name in names}


@pytest.mark.parametrize("dataset", ["two", "three"])
def test_margin_of_the_evaluated_model_is_compatible_uncertainty_sampling(folder: Path, dataset: str) -> None:
    found = orders(folder, dataset, "us", "margin")
    if dataset == "two":  # three columns: the softmax margin is not the gap of decision values
        assert found["margin"] == found["us"]
    assert all(sorted(order) == list(range(20, 36)) for order in found["margin"])


def test_coreset_is_kcenter(folder: Path) -> None:
    found = orders(folder, "three", "kcenter", "coreset")
    assert found["coreset"] == found["kcenter"]


def test_log_odds_give_the_probabilities_of_a_logistic_model() -> None:
    z = log_odds(np.array([-2.0, 0.5]))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert p[:, 1] == pytest.approx(1 / (1 + np.exp([2.0, -0.5])))


@pytest.mark.parametrize("name", ["auto", "badge", "base", "bald", "uherding", "typiclust", "tailor", "bait"])
def test_ordinary_strategies_visit_every_position_once_and_repeat_themselves(folder: Path, name: str) -> None:
    found = orders(folder, "three", name, batch_size=5)[name]
    assert all(sorted(order) == list(range(20, 36)) for order in found)
    assert orders(folder, "three", name, batch_size=5)[name] == found


def test_hidden_labels_do_not_change_what_an_ordinary_strategy_asks() -> None:
    from poolwise.bench.tabular.simulate import simulate

    cell = cell_of(blobs(60))
    swapped = cell.y_train.copy()
    swapped[20:] = 1 - swapped[20:]
    other = type(cell)(**{f: getattr(cell, f) for f in cell.__slots__} | {"y_train": swapped})
    for name in ("auto", "badge", "base"):
        assert simulate(cell, name, budget=1).order == simulate(other, name, budget=1).order


def test_the_names_of_this_benchmark_come_first(folder: Path) -> None:
    for name in ("random", "albl"):
        assert find_strategy(name) is TABULAR[name]


def test_what_reads_true_labels_or_arrays_of_others_is_refused_beside_the_rest(folder: Path) -> None:
    results = run_tabular(
        ["two"], ["balanced_random", "noise_stability_network", "us"], seeds=1, data_dir=folder, budget=2
    )
    assert [(s, "true labels" in r, "noise_deviations" in r) for _, s, r in results.refused] == [
        ("balanced_random", True, False),
        ("noise_stability_network", False, True),
    ]
    assert {row.strategy for row in results.rows} == {"us"}
    with pytest.raises(OptionError, match="true labels"):
        run_tabular(["two"], ["balanced_random"], seeds=1, data_dir=folder, budget=2)


def test_an_unknown_name_is_answered_with_the_nearest_of_both_kinds(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'kcenter'.*`poolwise strategies`"):
        find_strategy("kcentre")
    with pytest.raises(UnknownNameError, match="'uherding'"):
        find_strategy("uherdin")


def test_strategies_that_nobody_named_do_not_run(folder: Path) -> None:
    run_tabular(["two"], ["margin"], seeds=1, data_dir=folder, budget=1)
    assert find_strategy("margin").cost == "slow"
    everything = run_tabular(["two"], (), seeds=1, data_dir=folder, budget=1)
    assert "margin" not in {row.strategy for row in everything.rows}


def test_rows_follow_the_code_of_the_ordinary_strategy() -> None:
    assert len({code_digest(name) for name in ("us", "margin", "badge")}) == 3


MINE = '''
import numpy as np
from poolwise.bench.tabular import tabular
from poolwise.registry import strategy
from poolwise.types import IndexArray, Rows

@strategy("mine", family="hybrid", paper="none")
def mine(embeddings: Rows, probs: Rows, unlabeled: IndexArray, *, batch_size: int) -> IndexArray:
    """Take the least confident items."""
    return unlabeled[np.argsort(np.asarray(probs[unlabeled]).max(axis=1), kind="stable")[:batch_size]]

@tabular("mine_too", family="diversity", paper="none", cost="instant")
def mine_too(state):
    """Take the items farthest from the origin."""
    return state.best((state.x[state.unlabeled] ** 2).sum(axis=1))
'''


def test_strategies_of_an_installed_package_run_by_name_in_every_process(folder: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "mine-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "mine_package.py").write_text(MINE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{PLUGIN_GROUP}]\nmine = mine_package\n")
    command = [sys.executable, "-m", "poolwise", "bench", "tabular", "--datasets", "two", "--data-dir", str(folder)]
    command += ["--strategies", "us,mine,mine_too", "--seeds", "2", "--budget", "4", "--workers", "2", "--json"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(site)]), "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    form = json.loads(answer.stdout)
    assert set(form) == {"rows"}
    area = {(row["strategy"], row["seed"]): row["aubc"] for row in form["rows"]}
    assert len(area) == 6
    assert all(area["mine", seed] == area["us", seed] for seed in (0, 1))
