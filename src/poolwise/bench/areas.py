"""Result files to compare: those of suites, and the rows of the tabular benchmark in the same form."""

from __future__ import annotations

import hashlib
from pathlib import Path

from poolwise.bench.results import Results, read_results
from poolwise.bench.tabular.results import PUBLISHED_SETTING, Row, read_rows
from poolwise.bench.tabular.run import ROWS_FILE
from poolwise.errors import InputError


def read_curves(source: Results | str | Path) -> Results:
    """Read learning curves for comparisons.

    Parameters
    ----------
    source : results of a suite, their file or output folder; or the `--out` folder of `poolwise bench tabular`, or its
        rows.jsonl. Rows of the latter have the columns dataset, strategy, seed, round, n_labeled, accuracy and
        labeled_digest only; a data set is named with its setting where that is not the published one.

    Raises
    ------
    InputError
        If there is nothing, or it is no file of results.
    """
    if isinstance(source, Results):
        return source
    path = Path(source)
    if path.is_dir() and not (path / "results.parquet").is_file() and (path / ROWS_FILE).is_file():
        path = path / ROWS_FILE
    if path.suffix != ".jsonl":
        return read_results(path)
    found = {(row.dataset, row.strategy, row.seed, row.setting): row for row in read_rows(path)}  # the newest counts
    if not found:
        raise InputError(f"{str(source)!r} holds no rows of the tabular benchmark; run `poolwise bench tabular` again.")
    return Results(tuple(point for row in found.values() for point in _points(row)), {"baseline": "random"})


def _points(row: Row) -> list[dict[str, object]]:
    plain = row.setting == PUBLISHED_SETTING
    start = f"{row.code.rpartition('-')[2]} {row.seed} {row.n_labeled[0]}"  # data, split and initial set follow from it
    digest = hashlib.sha256(start.encode()).hexdigest()[:12]
    return [
        {
            "dataset": row.dataset if plain else f"{row.dataset} ({row.setting})",
            "strategy": row.strategy,
            "seed": row.seed,
            "round": number,
            "n_labeled": n_labeled,
            "accuracy": accuracy,
            "labeled_digest": digest,
        }
        for number, (n_labeled, accuracy) in enumerate(zip(row.n_labeled, row.accuracy, strict=True))
    ]
