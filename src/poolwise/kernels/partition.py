"""Random division of labeled and unlabeled items into parts of nearly equal size, each with its share of the batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolwise.types import IndexArray


def partition(
    labeled: IndexArray, unlabeled: IndexArray, batch_size: int, n_parts: int, rng: np.random.Generator
) -> Iterator[tuple[IndexArray, IndexArray, int]]:
    """Yield sorted labeled and unlabeled items and the share of the batch of each part.

    Parameters
    ----------
    labeled, unlabeled : (L,), (U,) int64 pool indices
    batch_size : B <= U; the first B mod P parts get one pick more
    n_parts : P >= 1; at most U parts are made. Parts without picks are left out

    Notes
    -----
    Source: the public code of Emam et al., arXiv:2111.12880 (partitioned samplers). With one part nothing is shuffled.
    """
    parts = min(n_parts, len(unlabeled))
    known = labeled if parts == 1 else rng.permutation(labeled)
    free = unlabeled if parts == 1 else rng.permutation(unlabeled)
    for number, (mine, open_) in enumerate(zip(np.array_split(known, parts), np.array_split(free, parts), strict=True)):
        share = batch_size // parts + (number < batch_size % parts)
        if share:
            yield np.sort(mine), np.sort(open_), share
