"""Noise stability of a whole network: query items whose measured outputs move most, and in different ways, under noise.

Source: Li, Yang, Gu, Zhan, Wang, Xu & Xu, "Deep Active Learning with Noise Stability", AAAI 2024, arXiv:2205.13340;
farthest-first choice from the origin as in the authors' code.
Differs from the paper: the movements are an array, measured once by `poolwise.train.noise_deviation` and kept on disk,
so they may be larger than memory; they are per unit of noise, which changes no pick. The strategy `noise_stability`
does without a network where a linear head is all that is trained.
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.blocks import as_key, read_rows
from poolwise.kernels.deviations import LinearPoints, sq_lengths
from poolwise.kernels.distances import sq_norms
from poolwise.kernels.implicit import FarthestFirst, pick_lazily
from poolwise.registry import strategy
from poolwise.types import FloatArray, IndexArray, Picks, Rows


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
    vectors = _Measured(noise_deviations, unlabeled)
    rule: FarthestFirst[LinearPoints] = FarthestFirst()
    if condition_on_labeled and len(labeled):
        rule.add(_Measured(noise_deviations, labeled).take(np.arange(len(labeled))))
    sq = sq_lengths(vectors, noise_deviations)
    pos, values = pick_lazily(vectors, rule, sq.copy(), batch_size)
    return Picks(
        unlabeled[pos],
        np.sqrt(values),
        {"movement": np.sqrt(sq[pos])},
        {"perturbations": int(noise_deviations.shape[1])},
    )


class _Measured:
    """Movements of some items, K Q numbers a row over the root of K, read when they are needed."""

    def __init__(self, deviations: Rows, indices: IndexArray) -> None:
        self.deviations, self.indices = deviations, indices
        self.row_bytes = 8 * int(np.prod(deviations.shape[1:]))

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, positions: IndexArray) -> LinearPoints:
        """Read some rows."""
        d = read_rows(self.deviations, as_key(self.indices[positions]), np.float64)
        x: FloatArray = d.reshape(len(d), -1) / np.sqrt(d.shape[1])
        return LinearPoints(x, sq_norms(x))
