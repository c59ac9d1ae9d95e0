"""Beam-search oracles: what a query order could reach if the test labels were known. Not strategies.

Source: Zhan et al., IJCAI 2021, and Lu, Li & Lin, arXiv 2306.08954 (beam-search oracle, width 5): `bso_instant`.
`oracle_area` is ours: beams are ranked by the area they have gathered, and two beams that hold the same set keep the
better one. Neither is an upper bound unless the width covers every set.

A path adds items one by one to the initial set; `score` maps a set to the accuracy of a model trained on it. The value
of a path is the area under its curve, `stats.curves.aubc`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from poolwise.bench.tabular.evaluate import Evaluator
from poolwise.bench.tabular.protocol import Cell
from poolwise.bench.tabular.simulate import Curve, curve_of
from poolwise.errors import OptionError

Score = Callable[[tuple[int, ...]], float]
"""Accuracy of a model trained on the initial set and the given items, sorted."""


@dataclass(frozen=True, slots=True)
class Path:
    """A query order and the accuracy before the first and after each query.

    area : area under the curve, divided by the number of queries
    """

    order: tuple[int, ...]
    accuracy: tuple[float, ...]

    @property
    def area(self) -> float:
        a = self.accuracy
        return float(sum((a[t] + a[t - 1]) / 2 for t in range(1, len(a)))) / max(len(a) - 1, 1)


def bso_instant(pool: Sequence[int], score: Score, width: int = 5, budget: int | None = None) -> Path:
    """Search as published: each beam proposes its `width` most accurate next items, the best of all survive.

    Parameters
    ----------
    pool : items that may be added, in the order in which ties are settled
    score : accuracy of a set; called once for each set met
    width : beams kept
    budget : items to add, by default all

    Returns
    -------
    The first beam at the end. All final beams hold the same set when the pool is exhausted, so which order comes
    first is chance of the ranking by instantaneous accuracy; permutations of one set fill the beam.

    Raises
    ------
    OptionError
        If width or budget is out of range.

    Notes
    -----
    About width Q^2 / 2 models; sets met before are not trained again.
    """
    steps, score = _check(pool, score, width, budget)
    beams = [Path((), (score(()),))]
    for _ in range(steps):
        candidates: list[Path] = []
        for beam in beams:
            grown = [_grow(beam, item, score) for item in pool if item not in beam.order]
            candidates += sorted(grown, key=lambda path: -path.accuracy[-1])[:width]  # stable: ties keep their order
        beams = sorted(candidates, key=lambda path: -path.accuracy[-1])[:width]
    return beams[0]


def oracle_area(pool: Sequence[int], score: Score, width: int = 5, budget: int | None = None) -> Path:
    """Search by area: of all extensions of all beams keep the largest areas, one path for each set.

    Parameters, errors and cost as in `bso_instant`. Ties go to the lexicographically smallest order.

    Returns
    -------
    The path with the largest area found; the best of all where width covers every set of each size.
    """
    steps, score = _check(pool, score, width, budget)
    beams = [Path((), (score(()),))]
    for _ in range(steps):
        best: dict[frozenset[int], tuple[float, Path]] = {}
        for beam in beams:
            for item in pool:
                if item not in beam.order:
                    path = _grow(beam, item, score)
                    key, rank = frozenset(path.order), (-round(path.area, 12), path.order)
                    if key not in best or rank < (best[key][0], best[key][1].order):
                        best[key] = (rank[0], path)
        beams = [path for _, path in sorted(best.values(), key=lambda entry: (entry[0], entry[1].order))[:width]]
    return beams[0]


ORACLES: dict[str, Callable[..., Path]] = {"bso": bso_instant, "oracle_area": oracle_area}
"""What the benchmark runs under these names beside the strategies, at width 5."""


def simulate_oracle(cell: Cell, name: str, evaluator: Evaluator, budget: int | None = None) -> Curve:
    """Run an oracle on a cell, one item at a time; about width Q^2 / 2 models, minutes a run above 100 queries."""
    start = time.perf_counter()
    path = ORACLES[name](range(cell.n_initial, len(cell.x_train)), cell_score(cell, evaluator), budget=budget)
    seconds = time.perf_counter() - start
    grown = [np.sort(np.append(np.arange(cell.n_initial), path.order[:t])) for t in range(len(path.accuracy))]
    scores = [evaluator.scores(labeled.astype(np.int64)) for labeled in grown]
    return curve_of(path.order, [len(labeled) for labeled in grown], scores, len(cell.x_test), seconds)


def cell_score(cell: Cell, evaluator: Evaluator) -> Score:
    """Score sets of train positions by the test accuracy of the evaluation model of a cell."""
    start, n_test = np.arange(cell.n_initial), len(cell.x_test)

    def score(items: tuple[int, ...]) -> float:
        labeled = np.concatenate([start, np.array(items, dtype=np.int64)])  # items are sorted and above the start
        return evaluator.n_correct(labeled) / n_test

    return score


def _grow(path: Path, item: int, score: Score) -> Path:
    order = (*path.order, item)
    return Path(order, (*path.accuracy, score(tuple(sorted(order)))))


def _check(pool: Sequence[int], score: Score, width: int, budget: int | None) -> tuple[int, Score]:
    steps = len(pool) if budget is None else budget
    if width < 1 or not 1 <= steps <= len(pool) or len(set(pool)) < len(pool):
        raise OptionError(
            f"an oracle needs a width of at least 1, distinct items and a budget between 1 and {len(pool)} (the pool); "
            f"got width {width}, {len(pool) - len(set(pool))} repeated items, budget {steps}."
        )
    known: dict[tuple[int, ...], float] = {}

    def remembered(items: tuple[int, ...]) -> float:
        if items not in known:
            known[items] = score(items)
        return known[items]

    return steps, remembered
