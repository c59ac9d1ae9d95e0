"""What the labels say for certain: how good a head is on rows it did not see, and whether neighbours share a class.

Source: our own; q and g of `auto` (see rule.py). Bounds: Wilson, "Probable inference, the law of succession, and
statistical inference", JASA 1927.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from poolwise.chance import rng_for
from poolwise.kernels.blocks import LinearLogits, Softmax, load_rows
from poolwise.kernels.distances import sq_distances
from poolwise.train.linear_probe import FIRST_STRENGTH, ProbeSettings, fit_linear, out_of_fold_logits
from poolwise.types import FloatArray, IndexArray, Rows

FOLDED_ROWS = 5000
"""Up to so many labeled rows are judged in 4 folds; of more, so many at most are judged by one head."""
FITTED_ROWS = 15_000
"""One head is fitted on at most so many rows."""
ONE_SIDED = 1.645
"""Standard errors of a bound that holds in 95 % of cases."""
LEAST_GAP = 1e-6
"""Labeled rows nearer than this are duplicates."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What is known about the head.

    value : q in [0, 1], lower bound: 0 not certainly better than guessing by class shares, 1 certainly always right
    accuracy : out of fold, or None where there was nothing to judge
    """

    value: float
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """What is known about neighbours.

    value : g in [0, 1], upper bound: 0 neighbours certainly say nothing about the class, 1 they may well decide it
    share : labeled rows whose nearest labeled row has their class, of those whose class has another row; None where
        there was nothing to judge
    least : smallest distance between labeled rows; None if there is none
    """

    value: float
    share: float | None
    least: float | None


def wilson(share: float, n: int, sign: int) -> float:
    """Lower (sign -1) or upper (+1) one-sided 95 % bound of a share that was seen in n cases."""
    z = sign * ONE_SIDED
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (share + z * z / (2 * n) + spread) / (1 + z * z / n)


def above_chance(accuracy: float, chance: float) -> float:
    """Part of the way from chance to certainty, clipped to [0, 1]."""
    return float(np.clip((accuracy - chance) / max(1 - chance, 1e-12), 0, 1))


def head_quality(embeddings: Rows, labeled: IndexArray, labels: IndexArray) -> Quality:
    """Judge linear heads on labeled rows held out from them; q = 0 with fewer than two classes.

    Parameters
    ----------
    embeddings : (N, D)
    labeled : (L,) int64 pool indices
    labels : (L,) int64 their classes, >= 0; gaps in the numbers do no harm

    Returns
    -------
    Quality. A row whose class is in no row the head was fitted on counts as an error.

    Notes
    -----
    Time of four fits, or of one above 5000 rows.
    """
    present, y = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return Quality(0.0, None)
    if len(y) <= FOLDED_ROWS:
        out = out_of_fold_logits(load_rows(embeddings, labeled), y, len(present))
        right = out.argmax(axis=1) == y
    else:
        order = rng_for(0, "judges of the head").permutation(len(y))
        count = min(FOLDED_ROWS, len(y) // 4)
        judges, fitted = np.sort(order[:count]), np.sort(order[count : count + FITTED_ROWS])
        settings = ProbeSettings(strength=FIRST_STRENGTH, calibrate=False)
        head = fit_linear(load_rows(embeddings, labeled[fitted]), y[fitted], len(present), settings=settings)
        right = head.logits(load_rows(embeddings, labeled[judges])).argmax(axis=1) == y[judges]
    accuracy = float(right.mean())
    chance = float(((np.bincount(y) / len(y)) ** 2).sum())
    return Quality(above_chance(wilson(accuracy, len(right), -1), chance), accuracy)


def neighbour_agreement(rows: Rows, labeled: IndexArray, labels: IndexArray) -> Agreement:
    """Compare the class of each labeled row with that of its nearest labeled row; g = 1 where there is no evidence.

    Parameters
    ----------
    rows : (N, D) in which distances count
    labeled, labels : as `head_quality`

    Returns
    -------
    Agreement, judged on at most 5000 of the rows.

    Notes
    -----
    Time L^2 D, memory 32 MB.
    """
    at = np.arange(len(labeled))
    if len(at) > FOLDED_ROWS:
        at = np.sort(rng_for(0, "neighbours that judge").permutation(len(at))[:FOLDED_ROWS])
    if len(at) < 2:
        return Agreement(1.0, None, None)
    x, y = load_rows(rows, labeled[at]), labels[at] if len(labels) else np.zeros(len(at), dtype=np.int64)
    nearest, least = np.empty(len(at), dtype=np.int64), math.inf
    step = max(1, 2**22 // len(at))
    for start in range(0, len(at), step):
        d2 = sq_distances(x[start : start + step], x)
        d2[np.arange(len(d2)), start + np.arange(len(d2))] = np.inf
        nearest[start : start + step] = d2.argmin(axis=1)
        least = min(least, float(d2[d2 > LEAST_GAP**2].min(initial=np.inf)))
    smallest = math.sqrt(least) if math.isfinite(least) else None
    present, dense = np.unique(y, return_inverse=True)
    others = np.bincount(dense)[dense] - 1
    judged = others > 0  # a class with one row has nobody to agree with
    if len(present) < 2 or not judged.any():
        return Agreement(1.0, None, smallest)
    share = float((y[nearest] == y)[judged].mean())
    chance = float(others[judged].mean()) / (len(y) - 1)
    return Agreement(above_chance(wilson(share, int(judged.sum()), 1), chance), share, smallest)


def own_head(embeddings: Rows, labeled: IndexArray, labels: IndexArray) -> tuple[Rows, IndexArray] | None:
    """Fit a linear head where no probabilities were given.

    Returns
    -------
    (N, P) probabilities of the P classes that have labels, computed when they are read, and (L,) labels numbered
    within them; None with fewer than two classes.
    """
    present, y = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return None
    fitted = np.arange(len(y))
    if len(y) > FITTED_ROWS:
        fitted = np.sort(rng_for(0, "rows of the head").permutation(len(y))[:FITTED_ROWS])
    settings = ProbeSettings(strength=FIRST_STRENGTH if len(y) > FOLDED_ROWS else None)
    head = fit_linear(load_rows(embeddings, labeled[fitted]), y[fitted], len(present), settings=settings)
    return Softmax(LinearLogits(embeddings, head.head_weight, head.head_bias)), y


def class_weights(y: IndexArray, n_classes: int) -> FloatArray:
    """1 / sqrt(n_c + 1) for each class, n_c being its labels so far."""
    counts = np.bincount(y[y < n_classes], minlength=n_classes)
    out: FloatArray = 1 / np.sqrt(counts + 1.0)
    return out
