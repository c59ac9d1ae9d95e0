"""Curves of rows: the areas of the rows are the areas under them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from poolwise.bench.tabular import run_tabular
from poolwise.bench.tabular.curves import COLUMNS, write_curves
from poolwise.errors import InputError
from poolwise.stats.curves import aubc


@pytest.mark.parametrize("options", [{"budget": 6}, {"batch_size": 3, "model": "logistic", "n_initial": 22}])
def test_areas_under_the_curves_are_those_of_the_rows(folder: Path, tmp_path: Path, options: dict[str, int]) -> None:
    results = run_tabular(["two", "three"], ["us", "bso"][: 2 - len(options) // 3], seeds=2, data_dir=folder, **options)
    path = write_curves(results.rows, tmp_path / "new" / "curves.csv", data_dir=folder)
    with path.open() as file:
        points = list(csv.DictReader(file))
    assert tuple(points[0]) == COLUMNS
    for row in results.rows:
        own = [
            p for p in points if (p["dataset"], p["strategy"], int(p["seed"])) == (row.dataset, row.strategy, row.seed)
        ]
        labels = [int(p["n_labeled"]) for p in own]
        assert labels == list(row.n_labeled)
        for name, area in (("accuracy", row.aubc), ("f1", row.f1), ("auc_hard", row.auc_hard), ("auc", row.auc)):
            assert aubc(labels, [float(p[name]) for p in own]) == pytest.approx(area, abs=2e-6)


def test_rows_of_other_models_are_refused(folder: Path, tmp_path: Path) -> None:
    (row,) = run_tabular(["two"], ["us"], seeds=1, data_dir=folder).rows
    wrong = replace(row, n_correct=tuple(n - 1 for n in row.n_correct))
    with pytest.raises(InputError, match="trained again differ"):
        write_curves([wrong], tmp_path / "curves.csv", data_dir=folder)
