"""MaxHerding: choose the items whose soft balls cover most of the pool.

Source: Bae, Noh & Sutherland, "Generalized Coverage for More Robust Low-Budget Active Learning", ECCV 2024,
equation 2 and Algorithm 1; kernel and sigma = 1 on unit rows as there.
Differs from the paper: old gains serve as upper bounds, which leaves the picks as they are; pools above 20,000
items are measured on a uniform sample of max(20 B, 5000) of them, candidates stay all.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.coverage import greedy_soft_cover, reference_notes, reference_size
from poolwise.kernels.distances import UnitRows
from poolwise.registry import strategy
from poolwise.types import IndexArray, Picks, Rows


@strategy(
    "maxherding",
    family="density",
    paper="arXiv:2407.12212",
    cost="one pass against max(20 B, 5000) reference items",
    use_when="Few labels so far and good embeddings; steadier than ProbCover, which needs the right radius.",
)
def maxherding(
    embeddings: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    sigma: float = 1.0,
    reference: int | None = None,
) -> Picks:
    """Greedily maximise the mean similarity of all items to the nearest labeled or chosen one.

    Parameters
    ----------
    embeddings : (N, D) features; rows are scaled to unit length
    labeled : (L,) int64 pool indices, sorted; cover their surroundings already
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : draws the reference items
    sigma : width of the kernel exp(-distance^2 / sigma^2) on unit rows, > 0
    reference : items on which coverage is measured; default all up to 20,000 items, else max(20 B, 5000)

    Returns
    -------
    Picks; scores are the gains in mean similarity.

    Notes
    -----
    Time U R D for R reference items, then about 32 R D per pick; memory R D + U.
    """
    if sigma <= 0:
        raise OptionError(f"maxherding: sigma must be above 0; got {sigma}.")
    items = np.union1d(labeled, unlabeled)
    size = reference_size(len(items), batch_size, int(embeddings.shape[1]), reference)
    sample = items if size == len(items) else np.sort(rng.choice(items, size, replace=False))
    weights = np.full(len(sample), 1 / len(sample))
    cover = greedy_soft_cover(UnitRows(embeddings), unlabeled, sample, weights, sigma, labeled, batch_size)
    return Picks(
        indices=unlabeled[cover.positions],
        scores=cover.gains,
        components={"coverage_gain": cover.gains},
        notes={"coverage": cover.coverage, "sigma": sigma, **reference_notes(size, len(items), batch_size)},
    )
