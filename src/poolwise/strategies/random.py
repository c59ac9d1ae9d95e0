"""Random sampling: the baseline that every other strategy has to beat.

Source: no paper; uniform draws without replacement.
"""

from __future__ import annotations

import numpy as np

from poolwise.registry import strategy
from poolwise.types import IndexArray


@strategy(
    "random",
    family="baseline",
    paper="none",
    cost="instant",
    use_when="As the baseline, and whenever an unbiased sample is worth more than a clever one.",
)
def random(unlabeled: IndexArray, *, batch_size: int, rng: np.random.Generator) -> IndexArray:
    """Draw items uniformly at random without replacement.

    Parameters
    ----------
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : source of the draw

    Returns
    -------
    (B,) int64 pool indices, in order of the draw.

    Notes
    -----
    Time and memory O(U).
    """
    return rng.permutation(unlabeled)[:batch_size]
