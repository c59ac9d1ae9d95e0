"""MASE: query where the distance to the nearest decision boundary is smallest.

Source: Emam, Chu, Chiang, Czaja, Leapman, Goldblum & Goldstein, "Active Learning at the ImageNet Scale",
arXiv:2111.12880 (margin selection in embedding space, the "MASE" sampler of its public code).
Differs from the paper: boundary distances from one matrix product and a table of |w_k - w_j|, never a
(n, C, D) tensor; ties go to the lower pool index.
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.coarse import Bounds
from poolwise.kernels.sampling import Screened, stream_top
from poolwise.kernels.scores import Boundaries
from poolwise.kernels.scores_device import NearestBoundary
from poolwise.kernels.sides import Sides
from poolwise.registry import strategy
from poolwise.types import Array, BoolArray, FloatArray, IndexArray, Picks, Rows


@strategy(
    "mase",
    family="uncertainty",
    paper="arXiv:2111.12880",
    cost="one pass",
    streams=True,
    use_when="A linear head on good embeddings; like margin, but measured in the embedding space.",
    device=("scores",),
)
def mase(logits: Rows, head_weight: Array, unlabeled: IndexArray, *, batch_size: int) -> Picks:
    """Take the items closest to the boundary of the class they are predicted to be.

    Parameters
    ----------
    logits : (N, C) float, logits of the linear head
    head_weight : (C, D) float
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U

    Returns
    -------
    Picks, nearest boundary first. Scores are minus the distance; components are `distance`, the `predicted`
    class and the `rival` class behind the boundary.

    Notes
    -----
    Time O(U C) after the logits; memory one block and O(B). Classes with equal weights have no boundary: the note
    `equal_class_pairs` counts such pairs.
    """
    boundaries = Boundaries(np.asarray(head_weight))
    sides = Sides(boundaries, logits)
    indices, scores = stream_top(nearness(boundaries), {"logits": logits}, unlabeled, batch_size, sides.nearness)
    return explained(sides, indices, scores)


def nearness(boundaries: Boundaries) -> Screened:
    """Return the score of (n, C) logits: minus the distance to the nearest boundary."""

    def score(logits: FloatArray) -> FloatArray:
        return -boundaries.nearest(logits)

    def above(floor: float, logits: FloatArray) -> FloatArray:
        return -boundaries.nearest_within(logits, -floor)

    def misses(floor: float, bounds: Bounds) -> BoolArray:
        return boundaries.misses(-floor, bounds)

    return Screened(score, above, NearestBoundary(boundaries), misses)


def explained(sides: Sides, indices: IndexArray, scores: FloatArray) -> Picks:
    """Add the classes on both sides of the nearest boundary."""
    predicted, rival = sides.of(indices)
    pairs = sides.boundaries.equal_pairs
    return Picks(
        indices,
        scores,
        components={"distance": -scores, "predicted": predicted, "rival": rival},
        notes={"equal_class_pairs": pairs} if pairs else {},
    )
