"""A leaderboard from several result files: ranks, who beats whom, areas with paired intervals, seconds.

Data sets are grouped by the suite they were run in. Within a group, only strategies that ran on all of its data sets
are ranked: mean ranks over different fields of competitors cannot be compared. Oracles are never ranked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolwise.bench.results import Results, read_results
from poolwise.bench.table import Line, summarise
from poolwise.errors import InputError
from poolwise.stats.ranks import (
    CriticalDifference,
    critical_difference,
    mean_ranks,
    penalty_matrix,
    win_tie_loss_matrix,
)
from poolwise.types import plain

ALL = "all data sets"


@dataclass(frozen=True, slots=True)
class DatasetBoard:
    """One data set: its group, labels of the first and the last round, one line for each strategy, best area first."""

    name: str
    group: str
    n_first: int
    n_final: int
    baseline: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class GroupBoard:
    """Who is ahead on a group of data sets.

    strategies, ranks : ranked strategies, best first, and their mean ranks
    wins : (k, k, 3) data sets on which the row's strategy had the larger, equal, smaller area
    penalty : (k, k) sum over data sets of the share of rounds at which the row's strategy is significantly
        better than the column's; None with a single seed
    picture : critical-difference picture; None with fewer than two data sets or strategies
    unranked : strategies that ran on part of the data sets, and on how many
    """

    name: str
    datasets: tuple[str, ...]
    strategies: tuple[str, ...]
    ranks: tuple[float, ...]
    wins: NDArray[np.int64]
    penalty: NDArray[np.float64] | None
    picture: CriticalDifference | None
    unranked: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """All groups, the one over everything first if there are several, and all data sets."""

    groups: tuple[GroupBoard, ...]
    datasets: tuple[DatasetBoard, ...]
    n_seeds: int
    versions: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the machine form that `--json` prints."""
        out: dict[str, Any] = plain(asdict(self))
        return out


def leaderboard(sources: Sequence[Results | str | Path]) -> Leaderboard:
    """Build a leaderboard.

    Parameters
    ----------
    sources : results, or their files or output folders. Files of one suite are joined, so that a strategy which was
        run later can be added to the others.

    Raises
    ------
    InputError
        If there is nothing, a file cannot be read, or two files of a suite do not fit together.
    """
    if not sources:
        raise InputError("a leaderboard needs at least one file of results; run `poolwise bench SUITE` first.")
    suites = _join([x if isinstance(x, Results) else read_results(x) for x in sources])
    names = [dataset for results in suites.values() for dataset in results.datasets()]
    boards: list[DatasetBoard] = []
    curves: dict[str, dict[str, NDArray[np.float64]]] = {}
    for group, results in suites.items():
        lines = summarise(results)
        for dataset in results.datasets():
            name = f"{dataset} ({group})" if names.count(dataset) > 1 else dataset
            boards.append(_dataset(name, group, dataset, results, [x for x in lines if x.dataset == dataset]))
            curves[name] = _curves(results, dataset)
    groups = [_group(name, [b for b in boards if b.group == name], curves) for name in suites]
    if len(groups) > 1:
        groups.insert(0, _group(ALL, boards, curves))
    first = next(iter(suites.values()))
    most = max(line.n_seeds for board in boards for line in board.lines)
    return Leaderboard(tuple(groups), tuple(boards), most, first.versions)


def _join(files: Sequence[Results]) -> dict[str, Results]:
    """Join files of the same suite: name -> results."""
    out: dict[str, Results] = {}
    for results in files:
        if not results.rows:
            raise InputError("a file of results has no rows; run `poolwise bench SUITE` again to complete it.")
        name = str(results.settings.get("name", "results"))
        if name in out:
            _check_fit(name, out[name], results)
            out[name] = Results(out[name].rows + results.rows, out[name].settings, out[name].versions)
        else:
            out[name] = results
    return out


def _check_fit(name: str, a: Results, b: Results) -> None:
    for dataset in set(a.datasets()) & set(b.datasets()):
        both = sorted(set(a.strategies(dataset)) & set(b.strategies(dataset)))
        if both:
            raise InputError(
                f"two files of suite {name!r} both hold {both[0]!r} on {dataset!r}; expected each run once. "
                "Leave one file out, or compare them with `poolwise bench compare A B`."
            )
        if _facts(a, dataset) != _facts(b, dataset):
            raise InputError(
                f"two files of suite {name!r} ran {dataset!r} with other data, settings or learners, so their "
                "strategies cannot stand in one table. Run the suite again, or leave one file out."
            )


def _facts(results: Results, dataset: str) -> tuple[Any, ...]:
    """What must be the same for two runs on a data set to be comparable."""
    settings = results.settings
    use = [entry for entry in settings.get("datasets", ()) if entry.get("label") == dataset]
    return settings.get("data_digests", {}).get(dataset), use, settings.get("learner")


def _dataset(name: str, group: str, dataset: str, results: Results, lines: Sequence[Line]) -> DatasetBoard:
    baseline = next(line.strategy for line in lines if line.against is None)
    labels = results.column("n_labeled", dataset=dataset)
    return DatasetBoard(name, group, min(labels), max(labels), baseline, tuple(lines))


def _curves(results: Results, dataset: str) -> dict[str, NDArray[np.float64]]:
    """(seeds, rounds) accuracies of each strategy, on the seeds that all of them finished."""
    found = {name: results.curves(dataset, name) for name in results.strategies(dataset)}
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in found.values())))
    return {
        name: np.array([[row["accuracy"] for row in by_seed[seed]] for seed in seeds])
        for name, by_seed in found.items()
    }


def _group(name: str, boards: Sequence[DatasetBoard], curves: Mapping[str, Mapping[str, Any]]) -> GroupBoard:
    areas = [{line.strategy: line.aubc.mean for line in board.lines if not line.oracle} for board in boards]
    known = list(dict.fromkeys(strategy for row in areas for strategy in row))
    ran = {strategy: sum(strategy in row for row in areas) for strategy in known}
    ranked = sorted(strategy for strategy in known if ran[strategy] == len(boards))
    unranked = tuple((s, ran[s]) for s in sorted(known) if ran[s] < len(boards))
    if not ranked:
        none = np.zeros((0, 0, 3), dtype=np.int64)
        return GroupBoard(name, tuple(b.name for b in boards), (), (), none, None, None, unranked)
    scores = np.array([[row[strategy] for strategy in ranked] for row in areas])  # (data sets, k)
    ranks, _ = mean_ranks(scores)
    order = np.argsort(ranks, kind="stable")
    ranked, scores, ranks = [ranked[i] for i in order], scores[:, order], ranks[order]
    enough = len(ranked) > 1 and len(boards) > 1
    return GroupBoard(
        name,
        tuple(board.name for board in boards),
        tuple(ranked),
        tuple(ranks.tolist()),
        win_tie_loss_matrix(scores),
        _penalty([curves[board.name] for board in boards], ranked),
        critical_difference(scores, ranked) if enough else None,
        unranked,
    )


def _penalty(curves: Sequence[Mapping[str, NDArray[np.float64]]], ranked: Sequence[str]) -> NDArray[np.float64] | None:
    experiments = [{name: found[name] for name in ranked} for found in curves]
    if any(len(accuracies) < 2 for found in experiments for accuracies in found.values()):
        return None
    return penalty_matrix(experiments)[1]
