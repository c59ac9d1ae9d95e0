"""BADGE: draw a batch that is both uncertain and diverse, in the space of last-layer gradients.

Source: Ash, Zhang, Krishnamurthy, Langford & Agarwal, "Deep Batch Active Learning by Diverse, Uncertain
Gradient Lower Bounds", ICLR 2020, Algorithm 1; seeding law of Arthur & Vassilvitskii, SODA 2007.
Differs from the paper: gradients stay in factors and are never built; draws come from stale distances with
rejection, which has exactly the law of the sequential sampler but not its order of random numbers. The first pick
is the longest gradient, as in the authors' code; the paper leaves it open.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.d2 import D2Draw, d2_sample
from poolwise.kernels.points import Points
from poolwise.kernels.vectors import GradientVectors
from poolwise.registry import strategy
from poolwise.types import IndexArray, Picks, Rows


@strategy(
    "badge",
    family="hybrid",
    paper="arXiv:1906.03671",
    cost="one to three passes, whatever the batch size",
    use_when="The head is trained, and the batch is large enough that near-duplicates would waste labels.",
    device=("D2 distances",),
)
def badge(
    embeddings: Rows,
    probs: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    bias: bool = False,
    condition_on_labeled: bool = False,
    topk: int | None = None,
) -> Picks:
    """Draw items with probability proportional to the squared distance of their gradient to the nearest one chosen.

    The gradient of an item is (probs - onehot(predicted class)) (x) embedding.

    Parameters
    ----------
    embeddings : (N, D) features, in memory, memory-mapped or streamed
    probs : (N, C) class probabilities; streamed when computed from embeddings and a head
    labeled : (L,) int64 pool indices, sorted; used only with `condition_on_labeled`
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : source of the draws
    bias : count the gradient by the biases too, as if each embedding ended in a constant 1
    condition_on_labeled : start with the labeled items as chosen, instead of with the longest gradient
    topk : keep so many class probabilities of each item after the first pass (8 bytes each), so that later passes
        need no class scores; the law of the draws stays exact, because what is left out enters the bounds

    Returns
    -------
    Picks with indices in order of choice and, as scores, the squared distance of each pick to the nearest
    one before it (for the first pick without labeled items: its squared length).

    Notes
    -----
    Time: one pass to measure the gradients, then a pass as one matrix product whenever the old distances have
    become too loose, plus draws x (B + L) pairs. Memory O(U + B (C + D)), plus O(L (C + D)) if conditioned.
    When every item left has the gradient of a chosen one, the lowest pool indices fill the batch.
    """
    check_topk(topk)
    vectors = GradientVectors(probs, embeddings, unlabeled, bias=bias, topk=topk)
    given = given_points(embeddings, probs, labeled, bias=bias) if condition_on_labeled else None
    draw = d2_sample([vectors], batch_size, rng, first="largest", given=given)
    return explained(draw, unlabeled, None if topk is None else vectors.residual)


def check_topk(topk: int | None) -> None:
    """Refuse to keep no probabilities at all."""
    if topk is not None and topk < 1:
        raise OptionError(f"badge: topk must be at least 1, or none; got {topk}.")


def given_points(embeddings: Rows, probs: Rows, labeled: IndexArray, *, bias: bool) -> Points | None:
    """Gather the gradients of the labeled items, if there are any."""
    if not len(labeled):
        return None
    return GradientVectors(probs, embeddings, labeled, bias=bias).take(np.arange(len(labeled)))


def explained(draw: D2Draw, unlabeled: IndexArray, residual: float | None) -> Picks:
    """Turn positions into pool indices, and say how the draws went."""
    notes = {"acceptance": draw.acceptance, "passes": 1 + draw.refreshes}
    if residual is not None:
        notes["residual"] = residual
    return Picks(
        indices=unlabeled[draw.positions],
        scores=draw.sq_distances,
        components={"gradient_length": np.sqrt(draw.sq_lengths)},
        notes=notes,
    )
