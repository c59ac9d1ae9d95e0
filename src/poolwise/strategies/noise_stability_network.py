"""Noise stability of a whole network: query items whose measured outputs move most, and in different ways, under noise.

Source: Li, Yang, Gu, Zhan, Wang, Xu & Xu, "Deep Active Learning with Noise Stability", AAAI 2024, arXiv:2205.13340;
farthest-first choice from the origin as in the authors' code.
Differs from the paper: the movements are an array, measured once by `poolwise.train.noise_deviation` and kept on disk,
so they may be larger than memory; they are per unit of noise, which changes no pick. The strategy `noise_stability`
does without a network where a linear head is all that is trained.
"""

from __future__ import annotations

from poolwise.kernels.deviations import MeasuredMovements, farthest_movements
from poolwise.registry import strategy
from poolwise.types import IndexArray, Picks, Rows


@strategy(
    "noise_stability_network",
    family="hybrid",
    paper="arXiv:2205.13340",
    cost="one pass over N x K x Q numbers, then the rows that may come first",
    use_when="You fine-tune a network, and can run it K + 1 times over the pool.",
)
def noise_stability_network(
    noise_deviations: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    condition_on_labeled: bool = False,
) -> Picks:
    """Repeatedly take the item whose measured movement is farthest from no movement and from all taken.

    Parameters
    ----------
    noise_deviations : (N, K, Q) movements of the outputs under K perturbations of the weights
    labeled : (L,) int64 pool indices, sorted; used only with `condition_on_labeled`
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    condition_on_labeled : count labeled items as taken; the paper does not

    Returns
    -------
    Picks with scores = distance of the movement to the nearest one taken before, or to no movement (never
    increasing), as a root mean square over the perturbations; component `movement` is its length. Where nothing moves
    any more, the lowest pool indices follow.

    Notes
    -----
    Time O(U K Q) and about 4000 rows x K Q per pick; memory O(U).
    """
    taken = MeasuredMovements(noise_deviations, labeled) if condition_on_labeled else None
    pos, distance, length = farthest_movements(MeasuredMovements(noise_deviations, unlabeled), taken, batch_size)
    return Picks(unlabeled[pos], distance, {"movement": length}, {"perturbations": int(noise_deviations.shape[1])})
