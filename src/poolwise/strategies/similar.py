"""SIMILAR: query items that resemble the labeled ones and cover them, away from those that annotators rejected.

Source: Kothawade, Beck, Killamsetty & Iyer, "SIMILAR: Submodular Information Measures Based Active Learning In
Realistic Scenarios", NeurIPS 2021, table 1 (FLQMI, facility-location mutual information with a query set).
Differs from the paper: similarities are max(0, cosine) of the pool's embeddings, not of gradients; rejected items lower
the gain by the similarity to the nearest one instead of entering as a second set; only the items of largest first
gain compete in large pools.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import InputError, OptionError
from poolwise.kernels.blocks import as_key, iter_blocks, load_rows, read_rows
from poolwise.kernels.distances import UnitRows
from poolwise.kernels.sampling import best_first
from poolwise.kernels.submodular import lazy_greedy
from poolwise.registry import strategy
from poolwise.types import BoolArray, FloatArray, IndexArray, Picks, Rows

CANDIDATES = 20
"""Times the batch that compete, but at least `FEWEST_CANDIDATES`."""
FEWEST_CANDIDATES = 20_000


@strategy(
    "similar",
    family="open set",
    paper="arXiv:2107.00717",
    cost="one pass against at most 1000 labeled items",
    use_when="You know a few items of what you want, such as a rare class, and want more of the same.",
)
def similar(
    embeddings: Rows,
    labels: IndexArray,
    labeled: IndexArray,
    unlabeled: IndexArray,
    foreign: BoolArray | None = None,
    *,
    batch_size: int,
    rng: np.random.Generator,
    target: int | None = None,
    eta: float = 1.0,
    nu: float = 1.0,
    most_queries: int = 1000,
) -> Picks:
    """Greedily maximise sum_q max_a s_qa + eta sum_a max_q s_aq - nu sum_a max_r s_ar over batches.

    Parameters
    ----------
    embeddings : (N, D) features
    labels : (N,) int64, -1 where unlabeled
    labeled : (L,) int64 pool indices, sorted; the query set q
    unlabeled : (U,) int64 pool indices, sorted
    foreign : (N,) bool, items rejected by annotators; the set r to stay away from
    batch_size : B, 1 <= B <= U
    rng : draws the query items where there are more than `most_queries`
    target : only labeled items of this class form the query set; default all
    eta : weight of the resemblance of each pick to its nearest query item, >= 0
    nu : weight of the resemblance of each pick to its nearest rejected item, >= 0
    most_queries : query items used at most, >= 1

    Returns
    -------
    Picks; scores are the gains. Components `to_query` and `to_rejected` are cosines to the nearest such item.

    Raises
    ------
    InputError
        If no item (of the target class) is labeled.
    OptionError
        If an option is out of range.

    Notes
    -----
    Time O(U (Q + R) D); memory O(U + candidates x Q).
    """
    if eta < 0 or nu < 0 or most_queries < 1:
        raise OptionError(f"similar: eta and nu must be at least 0, most_queries at least 1; got {eta}, {nu}.")
    wanted = labeled if target is None else labeled[np.asarray(labels)[labeled] == target]
    if not len(wanted):
        what = "" if target is None else f" of class {target}"
        raise InputError(f"similar needs labeled items{what} to look for more like them; got none. Label some first.")
    if len(wanted) > most_queries:
        wanted = np.sort(rng.choice(wanted, most_queries, replace=False))
    unit = UnitRows(embeddings)
    queries = load_rows(unit, wanted, np.float64)
    rejected = load_rows(unit, labeled[:0] if foreign is None else np.flatnonzero(foreign), np.float64)
    first, near, far = np.empty(len(unlabeled)), np.empty(len(unlabeled)), np.zeros(len(unlabeled))
    for start, block in iter_blocks(unit, unlabeled, dtype=np.float64):
        here = slice(start, start + len(block))
        s = np.maximum(block @ queries.T, 0)
        first[here], near[here] = s.sum(axis=1), s.max(axis=1)
        if len(rejected):
            far[here] = np.maximum(block @ rejected.T, 0).max(axis=1)
    worth = eta * near - nu * far
    first += worth
    kept = np.arange(len(unlabeled))
    size = max(FEWEST_CANDIDATES, CANDIDATES * batch_size)
    if len(kept) > size:
        kept = np.sort(best_first(first, unlabeled, size))
    s_kept = np.maximum(read_rows(unit, as_key(unlabeled[kept]), np.float64) @ queries.T, 0).astype(np.float32)
    covered = np.zeros(len(queries))

    def gains(pos: IndexArray) -> FloatArray:
        more = np.maximum(s_kept[pos] - covered, 0).sum(axis=1)
        return np.asarray(more + worth[kept[pos]])

    def take(pos: int) -> None:
        np.maximum(covered, s_kept[pos], out=covered)

    upper = s_kept.sum(axis=1, dtype=np.float64) + worth[kept] + 1e-4
    pos, values = lazy_greedy(upper, gains, take, batch_size)
    chosen = kept[pos]
    notes = {"queries": len(queries), "rejected": len(rejected), "candidates": len(kept)}
    return Picks(unlabeled[chosen], values, {"to_query": near[chosen], "to_rejected": far[chosen]}, notes)
