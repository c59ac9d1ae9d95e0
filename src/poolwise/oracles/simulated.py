"""The simulated annotator that always knows the true class."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from poolwise.errors import InputError
from poolwise.types import Annotation, Array, IndexArray


def answer(labels: Array, indices: IndexArray) -> IndexArray:
    """Look up the true class of each item.

    Parameters
    ----------
    labels : (N,) int true classes
    indices : (B,) pool indices

    Returns
    -------
    (B,) int64 classes in the order of `indices`.

    Raises
    ------
    InputError
        If an item has no true class (a negative one).
    """
    answers = np.asarray(labels)[indices].astype(np.int64)
    if len(answers) and answers.min() < 0:
        raise InputError(
            f"item {int(np.asarray(indices)[answers < 0][0])} has no true class; a simulated oracle needs one for "
            "every item it may be asked. Name a label column, or restrict the pool."
        )
    return answers


def annotate(
    answers: Array, indices: IndexArray, classes: Sequence[str], *, annotator: str = "oracle", round: int | None = None
) -> list[Annotation]:
    """Write answers as annotations of class names, in the order of `indices`."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        Annotation(index=int(i), label=classes[int(c)], annotator=annotator, time=time, round=round, source="simulated")
        for i, c in zip(indices, answers, strict=True)
    ]
