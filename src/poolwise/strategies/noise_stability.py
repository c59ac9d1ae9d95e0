"""Noise stability: query items whose outputs move most, and in different ways, when weights get small noise.

Source: Li, Yang, Gu, Zhan, Wang, Xu & Xu, "Deep Active Learning with Noise Stability", AAAI 2024, arXiv:2205.13340;
farthest-first choice from the origin as in the authors' code.
Differs from the paper: the noise goes to the last layer, on cached features; by default the K random perturbations
are replaced by their limit for infinitely many, which has a closed form in the factors, so nothing is left to chance.
Set `perturbations` for the sampled movements of the paper. The picks are those of the full k-center loop, without
the N x K C matrix.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.deviations import ExactMovements, Output, SampledMovements, draw_noise, farthest_movements
from poolwise.registry import strategy
from poolwise.types import Array, IndexArray, Picks, Rows


@strategy(
    "noise_stability",
    family="hybrid",
    paper="arXiv:2205.13340",
    cost="one pass in float64, then the rows that may come first",
    use_when="The head is trained and its doubts matter as much as not asking the same thing twice.",
)
def noise_stability(
    embeddings: Rows,
    probs: Rows,
    head_weight: Array,
    labeled: IndexArray,
    unlabeled: IndexArray,
    logits: Rows | None = None,
    *,
    batch_size: int,
    rng: np.random.Generator,
    perturbations: int | None = None,
    zeta: float = 1e-3,
    output: Output = "probs",
    antithetic: bool = False,
    condition_on_labeled: bool = False,
) -> Picks:
    """Repeatedly take the item whose movement under weight noise is farthest from no movement and from all taken.

    Parameters
    ----------
    embeddings : (N, D) features that the head gets
    probs : (N, C) class probabilities
    head_weight : (C, D); noise is relative to its length
    labeled : (L,) int64 pool indices, sorted; used only with `condition_on_labeled`
    unlabeled : (U,) int64 pool indices, sorted
    logits : (N, C), needed for output="logits"
    batch_size : B, 1 <= B <= U
    rng : draws the perturbations
    perturbations : K >= 1 random changes of the weights; default: their limit for infinitely many
    zeta : length of a change relative to that of the weights, > 0
    output : what moves: "probs", or "logits", which do not saturate
    antithetic : with `perturbations`, take half the difference of +noise and -noise
    condition_on_labeled : count labeled items as taken; the paper does not

    Returns
    -------
    Picks with scores = distance of the movement to the nearest one taken before, or to no movement (never
    increasing); component `movement` is its length. Where nothing moves any more, the lowest pool indices follow.

    Raises
    ------
    OptionError
        If `perturbations` is below 1, or `zeta` not above 0.

    Notes
    -----
    Time O(U C D) (times K with `perturbations`) and about 4000 rows x (D + 3 C) per pick; memory O(U).
    """
    if perturbations is not None and perturbations < 1:
        raise OptionError(
            f"noise_stability: perturbations must be at least 1; got {perturbations}. "
            "Leave it out for the limit of infinitely many."
        )
    if not zeta > 0:
        raise OptionError(f"noise_stability: zeta must be above 0; got {zeta}. Without noise nothing moves; try 1e-3.")
    outputs = probs if output == "probs" or logits is None else logits
    weight = np.asarray(head_weight, dtype=np.float64)
    if perturbations is None:
        radius = zeta * float(np.sqrt(np.square(weight).sum()))

        def movements(indices: IndexArray) -> ExactMovements | SampledMovements:
            return ExactMovements(embeddings, outputs, indices, radius, output)
    else:
        noise = draw_noise(weight, zeta, perturbations, rng)

        def movements(indices: IndexArray) -> ExactMovements | SampledMovements:
            return SampledMovements(embeddings, outputs, indices, noise, output, antithetic=antithetic)

    taken = movements(labeled) if condition_on_labeled else None
    pos, distance, length = farthest_movements(movements(unlabeled), taken, batch_size)
    return Picks(
        unlabeled[pos],
        distance,
        {"movement": length},
        {"perturbations": "infinitely many" if perturbations is None else perturbations},
    )
