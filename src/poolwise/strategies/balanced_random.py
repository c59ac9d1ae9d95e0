"""Balanced random: draw the same number of items of every true class; an upper reference for simulations.

Source: Emam et al., "Active Learning at the ImageNet Scale", arXiv:2111.12880 (balanced random baseline).
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.quotas import water_fill
from poolwise.registry import strategy
from poolwise.types import Array, IndexArray


@strategy(
    "balanced_random",
    family="balance",
    paper="arXiv:2111.12880",
    cost="instant",
    use_when="In simulations, to see what perfect class balance alone would bring. It reads the true labels.",
    oracle=True,
)
def balanced_random(
    oracle_labels: Array, unlabeled: IndexArray, *, batch_size: int, rng: np.random.Generator
) -> IndexArray:
    """Draw uniformly within each true class, with class counts as equal as the pool allows.

    Parameters
    ----------
    oracle_labels : (N,) int, true class of every item
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : source of the draw

    Returns
    -------
    (B,) int64 pool indices, in order of the draw.

    Notes
    -----
    Time and memory O(U). What is already labeled does not change the shares.
    """
    drawn = rng.permutation(unlabeled)
    _, classes, available = np.unique(np.asarray(oracle_labels)[drawn], return_inverse=True, return_counts=True)
    shares = water_fill(batch_size, available)
    by_class = np.argsort(classes, kind="stable")  # positions in `drawn`, class by class, in order of the draw
    first = np.cumsum(available) - available
    rank = np.empty(len(drawn), dtype=np.int64)
    rank[by_class] = np.arange(len(drawn)) - first[classes[by_class]]
    return drawn[rank < shares[classes]]
