"""The result files: every run in the table, every comparison over what is shared."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from poolwise.bench.tabular import run_tabular
from poolwise.bench.tabular.report import write_report


def test_report_holds_all_runs_and_the_picture(folder: Path, tmp_path: Path) -> None:
    results = run_tabular(["two", "words", "three"], ["random", "us", "quire"], seeds=4, data_dir=folder, budget=8)
    paths = write_report(results, tmp_path / "out", notes="### Notes\n\nA remark.")
    assert [path.name for path in paths] == ["tabular.md", "tabular.csv", "tabular.svg", "tabular-2.svg"]
    with paths[1].open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * (3 + 3 + 2)
    assert float(rows[0]["aubc"]) == pytest.approx(results.rows[0].aubc, abs=1e-6)
    page = paths[0].read_text()
    assert "A remark." in page
    assert "### 3 strategies on 2 data sets" in page  # quire is for two classes only
    assert "### 2 strategies on 3 data sets" in page
    assert "First 8 labels by 1 at a time, after 20 initial labels, svm-rbf" in page
    assert "nan" not in page.lower().replace("nanmean", "")


def test_areas_of_batches_stand_beside_the_published_true_area(tabular_dir: Path, tmp_path: Path) -> None:
    results = run_tabular(["appendicitis"], ["random", "us"], seeds=2, data_dir=tabular_dir, batch_size=20)
    page = write_report(results, tmp_path)[0].read_text()
    assert "Whole pool by 20 at a time" in page
    assert f"{0.8395 * 43 / 42:.4f} ± 0.0363" in page  # the published area leaves out one of 43 intervals
    assert "noinit" not in page.split("## Whole pool")[1]


def test_copies_of_a_strategy_are_not_ranked(folder: Path, tmp_path: Path) -> None:
    names = ["random", "us", "infodiv", "quire_libact"]
    results = run_tabular(["two", "words"], names, seeds=2, data_dir=folder, budget=4)
    page = write_report(results, tmp_path)[0].read_text()
    assert "### 2 strategies on 2 data sets" in page
    assert "| two | infodiv |" in page


def test_one_data_set_has_no_comparison_and_no_picture(folder: Path, tmp_path: Path) -> None:
    results = run_tabular(["two"], ["random", "us"], seeds=3, data_dir=folder, budget=3)
    paths = write_report(results, tmp_path)
    assert [path.name for path in paths] == ["tabular.md", "tabular.csv"]


def test_published_means_stand_beside_ours(tabular_dir: Path, tmp_path: Path) -> None:
    results = run_tabular(["appendicitis", "ex8b"], ["random", "us"], seeds=2, data_dir=tabular_dir)
    page = write_report(results, tmp_path)[0].read_text()
    assert "0.8454 ± 0.0333" in page
    assert "0.8853 ± 0.0280" in page
