"""How evenly classes are labeled, and how evenly they are predicted.

Source: the normalised entropy of the labeled classes is what Emam et al., "Active Learning at the ImageNet
Scale", arXiv:2111.12880, blame for losses to random; its formula here is ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolwise.errors import InputError, ShapeError


def class_counts(labels: Any, n_classes: int) -> NDArray[np.int64]:
    """Count the labels of each class: (C,) int64; -1 (unlabeled) counts for nothing.

    Raises
    ------
    InputError
        If a label is `n_classes` or more.
    """
    y = np.asarray(labels, dtype=np.int64)
    if len(y) and y.max() >= n_classes:
        raise InputError(f"labels must be below n_classes = {n_classes}; got {y.max()}.")
    return np.bincount(y[y >= 0], minlength=n_classes).astype(np.int64)


def class_entropy(labels: Any, n_classes: int) -> float:
    """Entropy of the class shares divided by log C.

    Returns
    -------
    1 if all C classes have equally many labels, 0 if only one has any (or there are none); 1 for C = 1.
    """
    counts = class_counts(labels, n_classes)
    if n_classes == 1:
        return 1.0
    if not counts.sum():
        return 0.0
    share = counts[counts > 0] / counts.sum()
    return float(max(0.0, -(share * np.log(share)).sum() / np.log(n_classes)))


def imbalance_ratio(labels: Any, n_classes: int) -> float:
    """Divide the largest class count by the smallest, the smallest counted as at least 1."""
    counts = class_counts(labels, n_classes)
    return float(counts.max() / max(1, counts.min()))


def class_accuracy(truth: Any, predicted: Any, n_classes: int) -> NDArray[np.float64]:
    """Share of each class that is predicted rightly: (C,); NaN for a class without rows."""
    y, guess = np.asarray(truth, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    if y.ndim != 1 or y.shape != guess.shape:
        raise ShapeError(f"truth has shape {y.shape} and predicted {guess.shape}; expected one prediction per row.")
    rows = class_counts(y, n_classes).astype(np.float64)
    right = class_counts(y[y == guess], n_classes)
    share: NDArray[np.float64] = np.divide(right, rows, out=np.full(n_classes, np.nan), where=rows > 0)
    return share


def mean_class_accuracy(truth: Any, predicted: Any, n_classes: int) -> float:
    """Average the accuracies of the classes that have rows; NaN if none has."""
    each = class_accuracy(truth, predicted, n_classes)
    return float(each[np.isfinite(each)].mean()) if np.isfinite(each).any() else float("nan")
