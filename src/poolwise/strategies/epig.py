"""EPIG: query the items whose labels tell most about the predictions that will be asked for.

Source: Bickford Smith, Kirsch, Farquhar, Gal, Foster & Rainforth, "Prediction-Oriented Bayesian Active Learning",
AISTATS 2023, equation 6.
Differs from the paper: beyond `classes` + 1 classes each item keeps its likeliest ones and the rest counts as one;
large pools are narrowed to the best `shortlist` items by bald first.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.batches import perturbed
from poolwise.kernels.blocks import iter_blocks, load_rows
from poolwise.kernels.information import bucketed, expected_information
from poolwise.kernels.samples import mutual_information
from poolwise.kernels.sampling import best_first, stream_top
from poolwise.registry import Noise, strategy
from poolwise.types import FloatArray, IndexArray, Picks, Rows

SHORT = 5000
"""Items that are always worth comparing in full."""


@strategy(
    "epig",
    family="uncertainty",
    paper="arXiv:2304.08151",
    cost="one pass for the shortlist, then its items against 100 targets",
    use_when="The pool holds much that the model will never be asked about; give the items it will be asked about.",
)
def epig(
    prob_samples: Rows,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    targets: int = 100,
    target_items: tuple[int, ...] = (),
    classes: int = 8,
    shortlist: int | None = None,
    stochastic: Noise = "power",
    beta: float = 1.0,
) -> Picks:
    """Score items by the expected information between their label and the label of a target, and draw a batch.

    Parameters
    ----------
    prob_samples : (N, S, C); sample s of every item must come from the same model
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : draws targets and the batch
    targets : items drawn as targets, at least 1
    target_items : pool indices to draw the targets from; default all unlabeled items
    classes : likeliest classes kept of each item, at least 1
    shortlist : items compared in full, at least B; default max(10 B, 5000)
    stochastic, beta : how chance enters the batch, as for every score; "none" takes the best

    Returns
    -------
    Picks; scores are the expected information in nats.

    Raises
    ------
    OptionError
        If an option is out of range.

    Notes
    -----
    Time U S C + shortlist x targets x S (classes + 1)^2; memory one block.
    """
    size = min(max(10 * batch_size, SHORT) if shortlist is None else shortlist, len(unlabeled))
    if targets < 1 or classes < 1 or size < batch_size:
        raise OptionError(
            f"epig: targets and classes must be at least 1 and shortlist at least B = {batch_size}; "
            f"got {targets}, {classes}, {size}."
        )
    wanted = np.array(target_items, dtype=np.int64) if len(target_items) else unlabeled
    if wanted.min() < 0 or wanted.max() >= len(prob_samples):
        raise OptionError(f"epig: target_items must be pool indices below {len(prob_samples)}; got {wanted.max()}.")
    drawn = np.sort(rng.permutation(wanted)[:targets])
    aims = bucketed(load_rows(prob_samples, drawn, np.float64), classes)
    rows = {"prob_samples": prob_samples}
    short = unlabeled
    if size < len(unlabeled):
        short = np.sort(stream_top(_bald, rows, unlabeled, size)[0])
    scores = np.empty(len(short))
    n_joint = max(1, 2**21 // (aims.shape[0] * aims.shape[2] * min(classes + 1, prob_samples.shape[2])))
    for start, block in iter_blocks(prob_samples, short, block_rows=n_joint, dtype=np.float64):
        scores[start : start + len(block)] = expected_information(bucketed(block, classes), aims)
    order = best_first(perturbed(scores, stochastic, beta, short, rng), short, batch_size)
    return Picks(
        short[order], scores[order], {"information": scores[order]}, {"shortlist": size, "targets": len(drawn)}
    )


def _bald(prob_samples: FloatArray) -> FloatArray:
    return mutual_information(prob_samples)
