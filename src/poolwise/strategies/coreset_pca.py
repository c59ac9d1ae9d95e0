"""Core-set on principal components: the k-center choice in the leading 50 directions of the pool.

Source: Sener & Savarese, ICLR 2018, Algorithm 1; on 50 principal components as KCenterGreedyPCA of DeepAL+,
Zhan et al., arXiv:2203.13450.
Differs from the public code: components and distances are computed in float64, where its float16 overflows.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.kcenter import k_center
from poolwise.kernels.projection import PrincipalRows
from poolwise.registry import strategy
from poolwise.types import IndexArray, Picks, Rows


@strategy(
    "coreset_pca",
    family="diversity",
    paper="arXiv:2203.13450",
    cost="one pass for the components, then as coreset on narrow rows",
    use_when="Wide, noisy embeddings; coreset is exact on them and usually fast enough.",
    device=("k-center distances",),
)
def coreset_pca(
    embeddings: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    components: int = 50,
) -> Picks:
    """Repeatedly take the unlabeled item farthest, in principal components, from every item labeled or taken so far.

    Parameters
    ----------
    embeddings : (N, D) float
    labeled : (L,) int64 pool indices, sorted; may be empty
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : not used; the choice has no chance in it
    components : directions kept, at least 1; all if D is not larger

    Returns
    -------
    Picks; scores are the distances when picked, component `nearest` the item they are measured from.

    Raises
    ------
    OptionError
        If components is below 1.

    Notes
    -----
    Time N D^2 and then k-center on `components` columns. Memory D^2, and that of coreset.
    """
    if components < 1:
        raise OptionError(f"coreset_pca: components must be at least 1; got {components}.")
    items = np.union1d(labeled, unlabeled)
    rows: Rows = embeddings
    notes: dict[str, float] = {}
    if embeddings.shape[1] > components:
        projected = PrincipalRows(embeddings, items, components)
        rows, notes = projected, {"kept_variance": projected.kept_variance}
    picks = k_center(rows, labeled, unlabeled, batch_size, first="center")
    notes["cover_radius"] = picks.cover_radius
    return Picks(picks.indices, picks.distance, {"nearest": picks.nearest}, notes)
