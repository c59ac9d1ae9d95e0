"""How far the head can be trusted: accuracy on labeled rows it did not see, above that of guessing.

Source: our own; the quality q of `auto` (see rule.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poolwise.chance import rng_for
from poolwise.kernels.blocks import LinearLogits, Softmax, load_rows
from poolwise.train.linear_probe import FIRST_STRENGTH, ProbeSettings, fit_linear, out_of_fold_logits
from poolwise.types import FloatArray, IndexArray, Rows

FOLDED_ROWS = 5000
"""Up to so many labeled rows are judged in 4 folds; of more, so many at most are judged by one head."""
FITTED_ROWS = 15_000
"""One head is fitted on at most so many rows."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What is known about the head.

    value : q in [0, 1]: 0 no better than guessing by class shares, 1 always right
    accuracy : out of fold, or None where there was nothing to judge
    """

    value: float
    accuracy: float | None


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
    chance = float(((np.bincount(y) / len(y)) ** 2).sum())
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
    return Quality(float(np.clip((accuracy - chance) / max(1 - chance, 1e-12), 0, 1)), accuracy)


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
