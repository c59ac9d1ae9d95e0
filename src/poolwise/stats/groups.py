"""Accuracy of each group of items, and of the worst: an average can hide that a model fails for some of them.

Source: the worst-group accuracy of Sagawa, Koh, Hashimoto & Liang, "Distributionally Robust Neural Networks",
ICLR 2020, which studies of Waterbirds report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from poolwise.errors import InputError, ShapeError
from poolwise.stats.anytime import share_interval
from poolwise.stats.intervals import Interval


@dataclass(frozen=True, slots=True)
class GroupAccuracy:
    """Accuracy by group.

    names : the groups that have items, sorted
    accuracies, counts : of each of them
    mean : of the accuracies, each group counting alike; worst : the smallest, and the group that has it
    """

    names: tuple[Any, ...]
    accuracies: tuple[float, ...]
    counts: tuple[int, ...]
    mean: float
    worst: float
    worst_group: Any


def group_accuracy(truth: Any, predicted: Any, groups: Any) -> GroupAccuracy:
    """Measure the accuracy of each group.

    Parameters
    ----------
    truth, predicted : (n,) classes, n >= 1
    groups : (n,) numbers or texts, such as class and background of a picture

    Raises
    ------
    ShapeError, InputError
        If they do not fit together, or there is no item.
    """
    y, guess, group = np.asarray(truth), np.asarray(predicted), np.asarray(groups)
    if y.ndim != 1 or y.shape != guess.shape or y.shape != group.shape:
        raise ShapeError(
            f"truth, predicted and groups have shapes {y.shape}, {guess.shape} and {group.shape}; one each."
        )
    if not len(y):
        raise InputError("accuracy by group needs at least one item; got none.")
    names, number, counts = np.unique(group, return_inverse=True, return_counts=True)
    share = np.bincount(number, weights=y == guess) / counts
    return GroupAccuracy(
        tuple(names.tolist()),
        tuple(share.tolist()),
        tuple(counts.tolist()),
        float(share.mean()),
        float(share.min()),
        names[share.argmin()].item(),
    )


def group_intervals(found: GroupAccuracy, *, look: int = 1, level: float = 0.95) -> tuple[Interval, ...]:
    """Bound the accuracy of every group, so that all bounds of all groups and looks hold together.

    The error of a look (`anytime.alpha_at`) is shared out evenly among the groups that have items then (Bonferroni), so
    groups may come and go between looks.

    Parameters
    ----------
    found : of items that are a random sample; those of one group are then a random sample of that group
    look, level : as for `anytime.share_interval`

    Returns
    -------
    One exact interval for each of `found.names`.
    """
    share = 1 - (1 - level) / len(found.names)
    return tuple(
        replace(share_interval(round(accuracy * count), count, look=look, level=share), level=level)
        for accuracy, count in zip(found.accuracies, found.counts, strict=True)
    )
