"""Rows of a tabular benchmark: kept as JSON lines while it runs, summed up as a table beside published numbers."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from poolwise.bench.tabular.reference import DIFFERENT_FILE, published
from poolwise.bench.tabular.registry import TABULAR
from poolwise.bench.tabular.simulate import Curve
from poolwise.stats.curves import aubc, aubc_noinit
from poolwise.stats.ranks import complete_rows, mean_ranks

PUBLISHED_SETTING = "svm-rbf, batch 1, budget pool, initial 20"
"""The setting of the published table; rows of another one are not put beside it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run: its areas, its curve and the order of its queries.

    setting : what must agree for two rows to be comparable: model, batch size, budget, initial set
    aubc, aubc_noinit : true area, and the published convention; see `poolwise.stats.curves`
    final : accuracy when the budget is spent (F-acc)
    f1, auc_hard, auc : areas of these curves, see `metrics.Scores`
    seconds : time spent in queries
    n_labeled, n_correct, n_test : the learning curve as counts
    order : train positions, in the order of the queries
    code : digest of the data, the code and the versions that the numbers follow from
    """

    dataset: str
    strategy: str
    seed: int
    setting: str
    aubc: float
    aubc_noinit: float
    final: float
    f1: float
    auc_hard: float
    auc: float
    seconds: float
    n_test: int
    n_labeled: tuple[int, ...]
    n_correct: tuple[int, ...]
    order: tuple[int, ...]
    code: str

    @property
    def accuracy(self) -> tuple[float, ...]:
        """Test accuracy after each query, (R+1,)."""
        return tuple(count / self.n_test for count in self.n_correct)


@dataclass(frozen=True, slots=True)
class Results:
    """All rows of a benchmark, and what could not be run.

    skipped : (data set, seed, reason), never replaced by other seeds
    missing : (data set, reason)
    refused : (data set, strategy, reason), such as two-class strategies on more classes
    failed : (data set, strategy, seed, what a strategy raised); run again next time
    """

    rows: tuple[Row, ...]
    skipped: tuple[tuple[str, int, str], ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    refused: tuple[tuple[str, str, str], ...] = ()
    failed: tuple[tuple[str, str, int, str], ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the machine form that `--json` prints: `rows`, and what could not be run where there is such."""
        keys = ("dataset", "strategy", "seed", "aubc", "aubc_noinit", "final")
        gaps = {
            "skipped": [{"dataset": d, "seed": s, "reason": r} for d, s, r in self.skipped],
            "missing": [{"dataset": d, "reason": r} for d, r in self.missing],
            "refused": [{"dataset": d, "strategy": s, "reason": r} for d, s, r in self.refused],
            "failed": [{"dataset": d, "strategy": s, "seed": n, "reason": r} for d, s, n, r in self.failed],
        }
        rows = [{key: getattr(row, key) for key in keys} for row in self.rows]
        return {"rows": rows, **{name: entries for name, entries in gaps.items() if entries}}

    def matrix(self, value: str = "aubc") -> tuple[list[str], list[str], np.ndarray]:
        """Average a value over seeds.

        Returns
        -------
        data sets and strategies, each in order of first appearance, and (datasets, strategies) float64 means,
        NaN where a strategy has no row.
        """
        sums: dict[tuple[str, str], list[float]] = defaultdict(list)
        for row in self.rows:
            sums[row.dataset, row.strategy].append(getattr(row, value))
        datasets = list(dict.fromkeys(d for d, _ in sums))
        strategies = list(dict.fromkeys(s for _, s in sums))
        means = np.array([[np.mean(sums[d, s]) if (d, s) in sums else np.nan for s in strategies] for d in datasets])
        return datasets, strategies, means


def row_of(curve: Curve, dataset: str, strategy: str, seed: int, setting: str, code: str = "") -> Row:
    """Turn one run into a row."""
    accuracy = curve.n_correct / curve.n_test
    return Row(
        dataset=dataset,
        strategy=strategy,
        seed=seed,
        setting=setting,
        aubc=aubc(curve.n_labeled, accuracy),
        aubc_noinit=aubc_noinit(curve.n_labeled, accuracy),
        final=float(accuracy[-1]),
        f1=aubc(curve.n_labeled, curve.f1),
        auc_hard=aubc(curve.n_labeled, curve.auc_hard),
        auc=aubc(curve.n_labeled, curve.auc),
        seconds=round(curve.seconds, 4),
        n_test=curve.n_test,
        n_labeled=tuple(curve.n_labeled.tolist()),
        n_correct=tuple(curve.n_correct.tolist()),
        order=tuple(curve.order.tolist()),
        code=code,
    )


def append_rows(path: Path, rows: Iterable[Row]) -> None:
    """Append rows to a file of JSON lines in one write, so that two programs do not mix within a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(asdict(row), separators=(",", ":")) + "\n" for row in rows)
    with path.open("ab", buffering=0) as file:
        torn = path.stat().st_size and path.read_bytes()[-1:] != b"\n"
        file.write((b"\n" if torn else b"") + text.encode())


def read_rows(path: Path) -> Iterator[Row]:
    """Read the rows of a file of JSON lines.

    A line that is no row of this version - torn by a crash, damaged, or written by other code - is left out, and so is
    run again.
    """
    if not path.exists():
        return
    names = {entry.name for entry in fields(Row)}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and set(found) == names:
            found.update({name: tuple(value) for name, value in found.items() if isinstance(value, list)})
            yield Row(**found)


def format_table(results: Results) -> str:
    """Write one line for each data set and strategy: ours, the published figure, their difference.

    "noinit", "std" and "published" follow the convention of the published table; "diff" is noinit minus published.
    "2 se" is twice the standard error of that difference for independent seeds; equal splits make it smaller. "s/run"
    is the time spent in queries.
    """
    header = f"{'dataset':<14} {'strategy':<14} {'seeds':>5} {'AUBC':>7} {'noinit':>7} {'std':>7} "
    lines = [header + f"{'published':>9} {'diff':>8} {'2 se':>7} {'F-acc':>7} {'s/run':>8}"]
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in results.rows:
        groups[row.dataset, row.strategy].append(row)
    for (dataset, strategy), rows in groups.items():
        lines.append(_line(dataset, strategy, rows))
    lines += _rank_lines(results)
    datasets = [d for d in dict.fromkeys(row.dataset for row in results.rows) if d in DIFFERENT_FILE]
    lines += [f"{dataset}: {DIFFERENT_FILE[dataset]}; not comparable." for dataset in datasets]
    lines += [f"missing: {dataset}: {reason}" for dataset, reason in results.missing]
    lines += [f"skipped: {reason}" for _, _, reason in results.skipped]
    lines += [f"refused: {reason}" for _, _, reason in results.refused]
    lines += [
        f"failed: {strategy} on {dataset}, seed {seed}: {reason}" for dataset, strategy, seed, reason in results.failed
    ]
    return "\n".join(lines)


def _rank_lines(results: Results) -> list[str]:
    """Mean ranks over the data sets that every strategy finished, best first; nothing to rank with one strategy."""
    _, strategies, means = results.matrix()
    complete = complete_rows(means) if len(means) else means
    if len(strategies) < 2 or not len(complete):
        return []
    ranks = mean_ranks(complete)[0]
    order = np.argsort(ranks, kind="stable")
    words = ", ".join(f"{strategies[i]} {ranks[i]:.2f}" for i in order)
    return [f"mean rank of true AUBC over {len(complete)} data set(s): {words}"]


def column_of(strategy: str) -> str:
    """Heading of a strategy or oracle in the published table, "" if it has none."""
    return TABULAR[strategy].column if strategy in TABULAR else {"bso": "BSO"}.get(strategy, "")


def _line(dataset: str, strategy: str, rows: Sequence[Row]) -> str:
    values = np.array([row.aubc_noinit for row in rows])
    std = values.std(ddof=1) if len(rows) > 1 else np.nan
    text = f"{dataset:<14} {strategy:<14} {len(rows):>5} {np.mean([row.aubc for row in rows]):>7.4f} "
    text += f"{values.mean():>7.4f} " + (f"{std:>7.4f} " if len(rows) > 1 else f"{'-':>7} ")
    column = column_of(strategy)
    comparable = dataset not in DIFFERENT_FILE and rows[0].setting == PUBLISHED_SETTING
    known = published(dataset, column) if column and comparable else None
    if known is None:
        text += f"{'-':>9} {'-':>8} {'-':>7}"
    else:
        spread = known.std if known.std is not None else std
        two_se = 2 * np.hypot(std / np.sqrt(len(rows)), spread / np.sqrt(known.n_seeds))
        text += f"{known.mean:>9.4f} {round(values.mean() - known.mean, 4) + 0.0:>+8.4f} "
        text += f"{two_se:>7.4f}" if len(rows) > 1 else f"{'-':>7}"
    return text + f" {np.mean([row.final for row in rows]):>7.4f} {np.mean([row.seconds for row in rows]):>8.3f}"
