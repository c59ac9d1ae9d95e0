"""The gate: which unlabeled items a strategy may choose from, by how foreign a detector says they are.

The threshold is measured, not set. With answers "not of interest", it separates labeled from rejected items best
(mean of the two shares judged right); without, 19 of 20 labeled items would pass. Both are judged out of fold where the
detector is fitted on them: an item's own label must not speak for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from poolwise.types import FloatArray, IndexArray

FOLDS = 5
PASSING = 0.95
"""Share of labeled items that pass while no item was rejected."""
FEWEST = 5
"""Fewer rejected, or fewer labeled items than this say nothing about a threshold."""
CHOICE = 3
"""So many times the batch is always let through, the least foreign items first, so that a strategy has a choice."""

Score = Callable[[IndexArray, IndexArray, IndexArray], FloatArray]
"""Scores (n,) of items by pool index, given labeled and rejected items."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What a gate decided.

    items : (U,) unlabeled pool indices; scores : (U,) float64, higher = more foreign
    kept : pool indices, sorted, that were let through
    threshold : items above it were flagged; +inf where nothing was known
    notes : for people
    """

    items: IndexArray
    scores: FloatArray
    kept: IndexArray
    threshold: float
    notes: Mapping[str, Any]


def make_gate(
    name: str,
    score: Score,
    unlabeled: IndexArray,
    labeled: IndexArray,
    foreign: IndexArray,
    labels: IndexArray | None,
    *,
    batch_size: int,
) -> Gate:
    """Score the unlabeled items and let those through that are not flagged.

    Parameters
    ----------
    name : of the detector
    score : see `Score`
    unlabeled, labeled, foreign : pool indices, sorted
    labels : (N,) classes of the labeled items, used to divide them evenly, or None
    batch_size : B; at least min(U, 3 B) items are let through

    Returns
    -------
    Gate. Where more would be flagged than may be, the least foreign items are let through, and a note says so.
    """
    scores = score(unlabeled, labeled, foreign)
    threshold = np.inf
    if len(labeled) >= FEWEST:
        known, rejected = out_of_fold(score, labeled, foreign, labels)
        threshold = best_threshold(known, rejected)
    flagged = scores > threshold
    notes: dict[str, Any] = {"ood": name, "flagged": int(flagged.sum()), "ood_threshold": threshold}
    if not np.isfinite(threshold):
        notes["gate"] = f"open: fewer than {FEWEST} items are labeled, so nothing tells how foreign is too foreign"
    least = min(len(unlabeled), CHOICE * batch_size)
    if len(flagged) - flagged.sum() < least:
        everything = bool(flagged.all()) and len(flagged) > 0
        flagged = np.ones(len(unlabeled), dtype=bool)
        flagged[np.lexsort((unlabeled, scores))[:least]] = False
        which = "every item" if everything else "nearly every item"
        notes["gate"] = f"{which} was flagged; the {least} least foreign were let through"
    return Gate(unlabeled, scores, unlabeled[~flagged], threshold, notes)


def out_of_fold(
    score: Score, labeled: IndexArray, foreign: IndexArray, labels: IndexArray | None
) -> tuple[FloatArray, FloatArray]:
    """Scores of labeled and of rejected items, each from a detector that did not see it.

    Folds deal out the items of each class in turn, so no chance is involved.
    """
    known, rejected = np.empty(len(labeled)), np.empty(len(foreign))
    order = np.argsort(labels[labeled], kind="stable") if labels is not None else np.arange(len(labeled))
    fold_known = np.empty(len(labeled), dtype=np.int64)
    fold_known[order] = np.arange(len(labeled)) % FOLDS
    fold_rejected = np.arange(len(foreign)) % FOLDS
    for fold in range(FOLDS):
        here, there = fold_known == fold, fold_rejected == fold
        items = np.concatenate([labeled[here], foreign[there]])
        if len(items):
            order = np.argsort(items)
            values = np.empty(len(items))
            values[order] = score(items[order], labeled[~here], foreign[~there])
            known[here], rejected[there] = values[: here.sum()], values[here.sum() :]
    return known, rejected


def best_threshold(known: FloatArray, rejected: FloatArray) -> float:
    """The value that separates two sets of scores best, or lets 19 of 20 known ones pass if few were rejected.

    Best is the largest sum of the share of known scores at or below it and of rejected ones above it; among equally
    good values the largest.
    """
    if len(rejected) < FEWEST:
        return float(np.quantile(known, PASSING))
    values = np.unique(np.concatenate([known, rejected]))
    middle = np.append((values[:-1] + values[1:]) / 2, values[-1])
    passing = np.searchsorted(np.sort(known), middle, side="right") / len(known)
    stopped = 1 - np.searchsorted(np.sort(rejected), middle, side="right") / len(rejected)
    right = passing + stopped
    return float(middle[np.flatnonzero(right == right.max())[-1]])
