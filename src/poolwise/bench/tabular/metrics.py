"""What a model's answers on the test part are worth beside accuracy: F1 and two areas under the ROC curve.

Source: Zhan et al., IJCAI 2021, report the areas of F1 and "AUC" over labels as they do for accuracy. Their AUC is
computed from predicted classes (`auc_hard`); `auc` ranks by decision values, which is what the name means elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poolwise.types import IndexArray


@dataclass(frozen=True, slots=True)
class Scores:
    """One model on the test part.

    n_correct : rows classified correctly
    f1 : of class 1 where there are two, else the mean over classes; in [0, 1]
    auc_hard, auc : mean over classes of one against the rest, by predicted class and by decision value; 0.5 is chance
    """

    n_correct: int
    f1: float
    auc_hard: float
    auc: float


def score_test(y: IndexArray, predicted: IndexArray, values: NDArray[np.float64], n_classes: int) -> Scores:
    """Score predictions.

    Parameters
    ----------
    y, predicted : (n,) int64 classes in 0..C-1
    values : (n,) decision values of class 1 where there are two classes, else (n, C)

    Notes
    -----
    A class that no test row has, or that all have, is left out of the areas; one that is neither there nor predicted
    is left out of F1. Without any class left an area is 0.5 and F1 is 0. O(C n log n).
    """
    hit = predicted == y
    right = np.bincount(y[hit], minlength=n_classes)  # (C,)
    there, said = np.bincount(y, minlength=n_classes), np.bincount(predicted, minlength=n_classes)
    met = there + said > 0
    f1 = 2 * right / np.maximum(there + said, 1)  # (C,)
    split = (there > 0) & (there < len(y))
    recall = right[split] / there[split]
    fallout = (said - right)[split] / (len(y) - there[split])
    ranked = [c for c in np.flatnonzero(split) if n_classes > 2 or c == 1]
    columns = values if values.ndim == 2 else np.column_stack([-values, values])
    areas = [_area(y == c, columns[:, c]) for c in ranked]
    return Scores(
        n_correct=int(hit.sum()),
        f1=float(f1[1] if n_classes == 2 else f1[met].mean()) if met.any() else 0.0,
        auc_hard=float(np.mean((1 + recall - fallout) / 2)) if split.any() else 0.5,
        auc=float(np.mean(areas)) if areas else 0.5,
    )


def _area(positive: NDArray[np.bool_], values: NDArray[np.float64]) -> float:
    """Share of pairs of a positive and a negative row that the values order rightly; ties count half."""
    above, below = values[positive], np.sort(values[~positive])
    smaller = np.searchsorted(below, above, side="left") + np.searchsorted(below, above, side="right")
    return float(smaller.sum() / (2 * len(above) * len(below)))
