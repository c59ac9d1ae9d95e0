"""A simulated annotator that errs: the wrong answer to an item is the same whenever it is asked."""

from __future__ import annotations

import numpy as np

from poolwise.chance import rng_for
from poolwise.errors import OptionError, ShapeError
from poolwise.oracles.simulated import answer
from poolwise.types import Array, FloatArray, IndexArray


def flip_labels(
    labels: Array, n_classes: int, rate: float, *, seed: int, confusion: FloatArray | None = None
) -> IndexArray:
    """Draw what a noisy annotator would answer for every item, before anyone asks.

    All strategies of a paired comparison then meet the same errors.

    Parameters
    ----------
    labels : (N,) int true classes; negative ones stay as they are
    n_classes : C >= 2
    rate : share of wrong answers, 0 <= rate <= 1
    seed : decides which items and which wrong classes
    confusion : (C, C) row c holds the chances of each wrong class for true class c (the diagonal is
        ignored); default all wrong classes alike

    Returns
    -------
    (N,) int64 answers.

    Raises
    ------
    OptionError, ShapeError
        If the rate, C or the confusion matrix cannot be used.
    """
    if not 0 <= rate <= 1:
        raise OptionError(f"rate of wrong answers must be between 0 and 1; got {rate!r}.")
    if n_classes < 2:
        raise OptionError(f"wrong answers need at least 2 classes; got n_classes = {n_classes}.")
    chances = np.ones((n_classes, n_classes)) if confusion is None else np.array(confusion, dtype=np.float64)
    if chances.shape != (n_classes, n_classes) or not (chances >= 0).all():
        raise ShapeError(f"confusion has shape {chances.shape}; expected ({n_classes}, {n_classes}), no value below 0.")
    np.fill_diagonal(chances, 0)
    if not (chances.sum(axis=1) > 0).all():
        raise OptionError("every row of confusion needs a chance above 0 beside the diagonal.")
    truth = np.asarray(labels).astype(np.int64)
    draws = rng_for(seed, "noisy oracle").random((len(truth), 2))
    wrong = (draws[:, 0] < rate) & (truth >= 0)
    ladder = np.cumsum(chances / chances.sum(axis=1, keepdims=True), axis=1)  # (C, C)
    ladder[:, -1] = 1  # rounding must not leave a gap at the top
    out = truth.copy()
    for c in np.unique(truth[wrong]).tolist():
        here = wrong & (truth == c)
        # The last class with a chance takes what rounding left over.
        last = int(np.flatnonzero(chances[c])[-1])
        out[here] = np.minimum(np.searchsorted(ladder[c], draws[here, 1], side="right"), last)
    return out


def noisy_answer(
    labels: Array, indices: IndexArray, *, n_classes: int, rate: float, seed: int, confusion: FloatArray | None = None
) -> IndexArray:
    """Answer some items with errors: (B,) int64 in the order of `indices`."""
    return answer(flip_labels(labels, n_classes, rate, seed=seed, confusion=confusion), indices)
