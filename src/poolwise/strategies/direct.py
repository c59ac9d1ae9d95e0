"""DIRECT: find for each class the cut that best separates its labels from the others', and label around it.

Source: Nuggehalli, Zhang, Jain & Nowak, "DIRECT: Deep Active Learning under Imbalance and Label Noise",
arXiv:2312.09196, Algorithm 2.
Differs from the paper: no label is read inside a batch, so the interval is not shrunk between sub-rounds; items
that are predicted with equal scores are separated by their largest probability.
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.lines import Lines
from poolwise.kernels.quotas import equal_quotas, water_fill
from poolwise.registry import strategy
from poolwise.types import Array, IndexArray, Picks, Rows


@strategy(
    "direct",
    family="balance",
    paper="arXiv:2312.09196",
    cost="one pass, then one sort a class",
    use_when="Few classes of very different size, or labels with errors in them.",
)
def direct(
    probs: Rows,
    labels: Array,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
) -> Picks:
    """Spend half of the batch inside the uncertain interval of rare classes, half around the cut of every class.

    Parameters
    ----------
    probs : (N, C) class probabilities
    labels : (N,) int64, -1 where unlabeled
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted; without labels the batch is drawn around rank U / C
    batch_size : B, 1 <= B <= U
    rng : draws inside the intervals, and the order of classes

    Returns
    -------
    Picks; components are the class whose line an item was found on, and its distance from the cut in places.

    Notes
    -----
    Time U C + K U log U for K lines; memory 4 U K bytes, K U at most 67 million: beyond that the rarest classes only.
    """
    items = np.union1d(labeled, unlabeled)
    n_classes = int(probs.shape[1])
    known = np.full(len(items), -1, dtype=np.int64)
    known[np.searchsorted(items, labeled)] = np.asarray(labels)[labeled]
    counts = np.bincount(known[(known >= 0) & (known < n_classes)], minlength=n_classes)
    lines = Lines(probs, items, counts)
    n_lines = len(lines.classes)
    n_rare = batch_size // 2
    rare = water_fill(n_rare, np.full(n_lines, n_rare), counts[lines.classes])
    even = np.zeros(n_lines, dtype=np.int64)
    even[rng.permutation(n_lines)] = equal_quotas(batch_size - n_rare, n_lines)
    free = known < 0
    chosen: list[int] = []
    of_class: list[int] = []
    away: list[int] = []
    for row in range(n_lines):
        if not rare[row] + even[row]:
            continue
        order = lines.order(row)
        cut, first, last = uncertain_interval(known[order], int(lines.classes[row]), n_classes)
        inside = np.arange(first, last + 1)
        inside = inside[free[order[inside]]]
        picks = rng.permutation(inside)[: rare[row]]
        free[order[picks]] = False
        around = _alternating(cut, np.flatnonzero(free[order]), int(even[row] + rare[row] - len(picks)))
        free[order[around]] = False
        places = np.concatenate([picks, around])
        chosen += order[places].tolist()
        of_class += [int(lines.classes[row])] * len(places)
        away += np.abs(places - cut).tolist()
    return Picks(
        items[np.array(chosen, dtype=np.int64)],
        -np.array(away, dtype=np.float64),
        {"line": np.array(of_class), "places_from_cut": np.array(away)},
        {"lines": n_lines},
    )


def uncertain_interval(known: IndexArray, target: int, n_classes: int) -> tuple[int, int, int]:
    """Find the best cut of a line and the places between which labels of the class and of others mix.

    Parameters
    ----------
    known : (n,) class of each item along the line, most likely member first; -1 where unknown
    target : the class of the line
    n_classes : C; without labels, the cut is at n / C

    Returns
    -------
    cut : number of places before the cut, which maximises (members before - others before) - (members after - others
        after); the middle of equals
    first, last : places of the last member before the first other, and of the first other after the last member
    """
    n = len(known)
    if not (known >= 0).any():
        return n // n_classes, 0, n - 1
    sign = np.where(known < 0, 0, np.where(known == target, 1, -1))
    before = np.concatenate([[0], np.cumsum(sign)])  # (n + 1,)
    best = np.flatnonzero(before == before.max())
    cut = int(best[len(best) // 2])
    members, others = np.flatnonzero(sign == 1), np.flatnonzero(sign == -1)
    early = members[members < (others[0] if len(others) else n)]
    late = others[others > (members[-1] if len(members) else -1)]
    first = int(early[-1]) if len(early) else 0
    last = int(late[0]) if len(late) else n - 1
    return cut, min(first, last), max(first, last)


def _alternating(cut: int, places: IndexArray, count: int) -> IndexArray:
    """Nearest free places on both sides of a cut, left and right in turn."""
    at = int(np.searchsorted(places, cut))
    left, right = places[:at][::-1], places[at:]
    turn = np.concatenate([2 * np.arange(len(left)), 2 * np.arange(len(right)) + 1])
    return np.asarray(np.concatenate([left, right])[np.argsort(turn, kind="stable")][:count])
