"""GALAXY: halve the shortest unlabeled gap between opposite labels on the line of a class, one class after another.

Source: Zhang, Katz-Samuels & Nowak, "GALAXY: Graph-based Active Learning at the Extreme", ICML 2022, Algorithm 2.
Differs from the paper: its procedure reads every label at once, which a batch cannot. Here a picked item splits its gap
and nothing is assumed about its label; labels count from the next batch on.
"""

from __future__ import annotations

import heapq

import numpy as np

from poolwise.kernels.lines import Lines
from poolwise.registry import strategy
from poolwise.types import Array, BoolArray, IndexArray, Picks, Rows


@strategy(
    "galaxy",
    family="balance",
    paper="arXiv:2202.01402",
    cost="one pass, then one sort a class",
    use_when="Extreme imbalance and exact labels; direct stands label errors better.",
)
def galaxy(
    probs: Rows,
    labels: Array,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
) -> Picks:
    """For a random class at a time, query the middle of the shortest gap between a member and another.

    Parameters
    ----------
    probs : (N, C) class probabilities
    labels : (N,) int64, -1 where unlabeled
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted; without labels the middles of the lines are taken
    batch_size : B, 1 <= B <= U
    rng : draws the class of each pick

    Returns
    -------
    Picks; components are the class whose line an item was found on, and the length of the gap it halved.

    Notes
    -----
    Time U C + K U log U for K lines; memory 4 U K bytes, K U at most 67 million: beyond that the rarest classes only.
    """
    items = np.union1d(labeled, unlabeled)
    known = np.full(len(items), -1, dtype=np.int64)
    known[np.searchsorted(items, labeled)] = np.asarray(labels)[labeled]
    n_classes = int(probs.shape[1])
    lines = Lines(probs, items, np.bincount(known[(known >= 0) & (known < n_classes)], minlength=n_classes))
    per_line = np.bincount(rng.integers(len(lines.classes), size=batch_size), minlength=len(lines.classes))
    free = known < 0
    chosen: list[int] = []
    of_class: list[int] = []
    lengths: list[int] = []
    for row in np.flatnonzero(per_line).tolist():
        order, target = lines.order(row), int(lines.classes[row])
        places, gaps = halve_gaps(known[order], target, free[order], int(per_line[row]))
        free[order[places]] = False
        chosen += order[places].tolist()
        of_class += [target] * len(places)
        lengths += gaps.tolist()
    return Picks(
        items[np.array(chosen, dtype=np.int64)],
        1 / np.array(lengths, dtype=np.float64),
        {"line": np.array(of_class), "gap": np.array(lengths)},
        {"lines": len(lines.classes)},
    )


def halve_gaps(known: IndexArray, target: int, free: BoolArray, count: int) -> tuple[IndexArray, IndexArray]:
    """Choose places on a line: middles of the shortest gaps between opposite labels, then of the other gaps.

    Parameters
    ----------
    known : (n,) class of each place, -1 where unknown
    target : the class of the line
    free : (n,) bool, places that may be taken; a place that is neither free nor known splits a gap
    count : at most the number of free places

    Returns
    -------
    (count,) places in order, and the number of free places of the gap of each.
    """
    side = np.where(known < 0, 0, np.where(known == target, 1, -1))
    labeled = np.flatnonzero(side)
    before = np.searchsorted(labeled, np.arange(len(known)), side="right") - 1
    left = np.where(before >= 0, side[labeled[np.maximum(before, 0)]] if len(labeled) else 0, 0)
    after = np.minimum(before + 1, len(labeled) - 1)
    right = np.where(before + 1 < len(labeled), side[labeled[after]] if len(labeled) else 0, 0)
    opposite = left * right == -1
    edges = np.flatnonzero(np.diff(np.concatenate([[False], free, [False]]).astype(np.int8)))
    heap = [(not opposite[a], b - a, a, b) for a, b in edges.reshape(-1, 2).tolist()]
    heapq.heapify(heap)
    places, gaps = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    for rank in range(count):
        same, length, start, stop = heapq.heappop(heap)
        middle = (start + stop) // 2
        places[rank], gaps[rank] = middle, length
        for a, b in ((start, middle), (middle + 1, stop)):
            if b > a:
                heapq.heappush(heap, (same, b - a, a, b))
    return places, gaps
