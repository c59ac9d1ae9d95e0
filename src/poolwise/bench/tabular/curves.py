"""Learning curves of rows, point by point: accuracy, F1 and both areas under the ROC curve, as a CSV file.

A row keeps the order of its queries, the accuracy at each step, and of the other metrics only the areas. The same
models, trained again on the same labels, give their curves.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sklearn
from threadpoolctl import threadpool_limits

from poolwise.bench.tabular.evaluate import Evaluator
from poolwise.bench.tabular.loader import default_data_dir
from poolwise.bench.tabular.metrics import Scores
from poolwise.bench.tabular.protocol import make_cell
from poolwise.bench.tabular.results import Row
from poolwise.bench.tabular.run import load_readable
from poolwise.engine import map_tasks
from poolwise.errors import InputError
from poolwise.progress import task

COLUMNS = ("dataset", "strategy", "seed", "setting", "n_labeled", "accuracy", "f1", "auc_hard", "auc")


@dataclass(frozen=True, slots=True)
class Retrain:
    """The rows of one data set and one seed, whose models are trained again."""

    rows: tuple[Row, ...]
    data_dir: str


def write_curves(rows: Sequence[Row], path: Path, *, data_dir: str | Path | None = None, workers: int = 1) -> Path:
    """Write one line for each row and number of labels, in the order of the rows.

    Parameters
    ----------
    rows : of `run_tabular`, in whatever settings
    path : CSV file to write; its folder is made
    data_dir : folder that the rows were made from
    workers : processes, each with one thread

    Raises
    ------
    InputError
        If the models trained again are not those of the rows, because the data or the versions are others.

    Notes
    -----
    Cost: one fit of the evaluation model per label, row and seed, as for Random.
    """
    folder = str(data_dir if data_dir is not None else default_data_dir())
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.seed), []).append(row)
    work = [Retrain(tuple(group), folder) for group in groups.values()]
    found: dict[tuple[str, int], tuple[tuple[Scores, ...], ...]] = {}
    with task("learning curves", len(work)) as progress:
        answers = map_tasks(retrain, work, workers=workers) if workers > 1 else enumerate(map(retrain, work))
        for position, curves in answers:
            found[work[position].rows[0].dataset, work[position].rows[0].seed] = curves
            progress.advance()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            curve = found[row.dataset, row.seed][groups[row.dataset, row.seed].index(row)]
            for n_labeled, scores in zip(row.n_labeled, curve, strict=True):
                values = (scores.n_correct / row.n_test, scores.f1, scores.auc_hard, scores.auc)
                named = (row.dataset, row.strategy, row.seed, row.setting, n_labeled)
                writer.writerow([*named, *(f"{value:.6f}" for value in values)])
    return path


def retrain(work: Retrain) -> tuple[tuple[Scores, ...], ...]:
    """Score the models of each row again: one tuple for each row, with R + 1 scores."""
    first = work.rows[0]
    data = load_readable(first.dataset, work.data_dir)
    curves = []
    with threadpool_limits(1), sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        evaluators: dict[tuple[str, int], Evaluator] = {}  # rows of one seed share the models of equal labels
        for row in work.rows:
            key = (row.setting.partition(",")[0], row.n_labeled[0])
            if key not in evaluators:
                evaluators[key] = Evaluator(make_cell(data, row.seed, row.n_labeled[0]), key[0])
            order, n_initial = np.array(row.order, dtype=np.int64), row.n_labeled[0]
            grown = [np.sort(np.append(np.arange(n_initial), order[: n - n_initial])) for n in row.n_labeled]
            curve = tuple(evaluators[key].scores(labeled) for labeled in grown)
            if tuple(scores.n_correct for scores in curve) != row.n_correct:
                raise InputError(
                    f"{row.strategy} on {row.dataset}, seed {row.seed}: models trained again differ from those of the "
                    "row; expected the same data and versions. Run the benchmark again into another `--out`."
                )
            curves.append(curve)
    return tuple(curves)
