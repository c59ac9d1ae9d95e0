"""BatchBALD: choose the batch whose labels together tell most about the model.

Source: Kirsch, van Amersfoort & Gal, "BatchBALD: Efficient and Diverse Batch Acquisition for Deep Bayesian Active
Learning", NeurIPS 2019, Algorithm 1.
Differs from the paper: only the best `shortlist` items by bald compete, and beyond 17 classes the least likely count as
one; after 50 picks the batch goes on with the best by bald, as the joint estimate has long been noise.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.blocks import load_rows
from poolwise.kernels.information import bucketed, greedy_joint_information
from poolwise.kernels.samples import mutual_information
from poolwise.kernels.sampling import stream_top
from poolwise.registry import strategy
from poolwise.types import FloatArray, IndexArray, Picks, Rows

MOST_PICKS = 50
CLASSES = 16


@strategy(
    "batchbald",
    family="uncertainty",
    paper="arXiv:1906.08158",
    cost="one pass, then up to 50 rounds over 1000 items; the rest by bald",
    use_when="Batches of up to 50, sampled models, and labels dear enough to think about each.",
)
def batchbald(
    prob_samples: Rows,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    shortlist: int = 1000,
    configurations: int = 2000,
) -> Picks:
    """Greedily add the item that raises the joint mutual information of the batch most.

    Parameters
    ----------
    prob_samples : (N, S, C); sample s of every item must come from the same model
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U; only the first 50 picks are joint
    rng : draws label configurations
    shortlist : items that compete, at least 1; never fewer than B do
    configurations : joint labels that are listed exactly, or sampled when there are more; the paper takes 10,000

    Returns
    -------
    Picks; scores are what each pick adds to the information, nats; bald of their own for picks after the 50th.

    Raises
    ------
    OptionError
        If shortlist or configurations is below 1.

    Notes
    -----
    Time U S C + 50 x configurations x shortlist x S C; memory shortlist x S x 17 numbers.
    """
    if shortlist < 1 or configurations < 1:
        raise OptionError(
            f"batchbald: shortlist and configurations must be at least 1; got {shortlist}, {configurations}."
        )
    size = min(max(shortlist, batch_size), len(unlabeled))
    best, alone = stream_top(_bald, {"prob_samples": prob_samples}, unlabeled, size)
    few = np.sort(best[: min(size, shortlist)])
    n_joint = min(batch_size, MOST_PICKS, len(few))
    samples = bucketed(load_rows(prob_samples, few, np.float64), CLASSES)
    at, gains = greedy_joint_information(samples, n_joint, configurations, rng)
    rest = np.flatnonzero(~np.isin(best, few[at]))[: batch_size - n_joint]
    own = dict(zip(best.tolist(), alone.tolist(), strict=True))
    indices = np.concatenate([few[at], best[rest]])
    return Picks(
        indices,
        np.concatenate([gains, alone[rest]]),
        {"bald": np.array([own[i] for i in indices.tolist()]), "joint": np.arange(batch_size) < n_joint},
        {"shortlist": len(few), "joint_picks": n_joint},
    )


def _bald(prob_samples: FloatArray) -> FloatArray:
    return mutual_information(prob_samples)
