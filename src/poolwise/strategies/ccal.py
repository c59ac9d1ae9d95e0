"""CCAL: among the items that look like the classes of interest, take those that differ most.

Source: Du, Zhao, Chen, Chen, Li & Wu, "Contrastive Coding for Active Learning under Class Distribution Mismatch",
ICCV 2021 (a semantic score for being of interest, a distinctive score for being new).
Differs from the paper: no contrastive network is trained, both scores come from the pool's embeddings; in place of a
weighted sum, the most similar items are kept and the distinct ones among them are taken by k-center.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import InputError, OptionError
from poolwise.kernels.distances import UnitRows
from poolwise.kernels.kcenter import k_center
from poolwise.kernels.sampling import best_first
from poolwise.ood.knn import kth_distance
from poolwise.registry import strategy
from poolwise.types import BoolArray, IndexArray, Picks, Rows


@strategy(
    "ccal",
    family="open set",
    paper="Du et al., ICCV 2021",
    cost="one pass against the labeled items, then k-center on candidates",
    use_when="Self-supervised embeddings, an open pool, and no trained head yet.",
    device=("k-center distances",),
)
def ccal(
    embeddings: Rows,
    labels: IndexArray,
    labeled: IndexArray,
    unlabeled: IndexArray,
    foreign: BoolArray | None = None,
    *,
    batch_size: int,
    candidates_per_pick: float = 3.0,
) -> Picks:
    """Keep the items nearest to labeled ones (and far from rejected ones), then cover them by k-center.

    Parameters
    ----------
    embeddings : (N, D) features; rows are scaled to unit length
    labels : (N,) int64, -1 where unlabeled; only whether an item has one matters
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted
    foreign : (N,) bool, items rejected by annotators; the distance to the nearest one counts in favour
    batch_size : B, 1 <= B <= U
    candidates_per_pick : so many times B items are kept, >= 1

    Returns
    -------
    Picks; scores are the distance to the nearest labeled or earlier picked item, component `semantic` is minus the
    distance to the nearest labeled item (plus that to the nearest rejected one).

    Raises
    ------
    InputError
        If nothing is labeled.
    OptionError
        If `candidates_per_pick` is below 1.

    Notes
    -----
    Time O(U (L + R) D), memory O(U).
    """
    if candidates_per_pick < 1:
        raise OptionError(f"ccal: candidates_per_pick must be at least 1; got {candidates_per_pick}.")
    if not len(labeled):
        raise InputError("ccal needs labeled items to know what is of interest; got none. Label some first.")
    unit = UnitRows(embeddings)
    semantic = -kth_distance(unit, unlabeled, labeled, 1)
    rejected = labeled[:0] if foreign is None else np.flatnonzero(foreign)
    if len(rejected):
        semantic += kth_distance(unit, unlabeled, rejected, 1)
    size = min(len(unlabeled), round(candidates_per_pick * batch_size))
    kept = np.sort(best_first(semantic, unlabeled, size))
    picks = k_center(unit, labeled, unlabeled[kept], batch_size)
    at = np.searchsorted(unlabeled, picks.indices)
    return Picks(picks.indices, picks.distance, {"semantic": semantic[at]}, {"candidates": size})
