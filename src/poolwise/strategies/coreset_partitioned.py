"""Partitioned core-set: farthest-first choice inside random parts of the pool.

Source: Emam et al., "Active Learning at the ImageNet Scale", arXiv:2111.12880, and its public code.
Differs from the paper: the parts cover the whole pool, not a random part of it.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.kcenter import k_center
from poolwise.kernels.partition import partition
from poolwise.registry import strategy
from poolwise.types import IndexArray, Picks, Rows


@strategy(
    "coreset_partitioned",
    family="diversity",
    paper="arXiv:2111.12880",
    cost="as coreset on each part",
    use_when="To repeat published ImageNet numbers; coreset itself is exact and as fast here.",
    device=("k-center distances",),
)
def coreset_partitioned(
    embeddings: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    parts: int = 10,
) -> Picks:
    """Cut the pool into random parts and take the farthest items inside each.

    Parameters
    ----------
    embeddings : (N, D) float
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted; both are cut into parts
    batch_size : B, 1 <= B <= U
    rng : makes the parts
    parts : P >= 1; 1 is coreset

    Returns
    -------
    Picks, part by part; scores are the distances inside the part.

    Raises
    ------
    OptionError
        If parts is below 1.

    Notes
    -----
    Time and memory as coreset on L / P labeled and U / P unlabeled items, P times.
    """
    if parts < 1:
        raise OptionError(f"coreset_partitioned: parts must be at least 1; got {parts}.")
    found = [
        (number, k_center(embeddings, known, free, share, first="center"))
        for number, (known, free, share) in enumerate(partition(labeled, unlabeled, batch_size, parts, rng))
    ]
    return Picks(
        np.concatenate([picks.indices for _, picks in found]),
        np.concatenate([picks.distance for _, picks in found]),
        {
            "part": np.concatenate([np.full(len(picks.indices), number) for number, picks in found]),
            "nearest": np.concatenate([picks.nearest for _, picks in found]),
        },
        {"parts": len(found)},
    )
