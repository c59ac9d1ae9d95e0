"""TAILOR: Thompson sampling over strategies, rewarded for labels of classes that are rare so far.

Source: Zhang, Shao, Verma & Nowak, "Algorithm Selection for Deep Active Learning with Imbalanced Datasets", NeurIPS
2023, Algorithm 1.
Differs from the paper: the discount of past batches is ours (0.7).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poolwise.auto.nominations import CANDIDATES, nominate, situation
from poolwise.errors import OptionError
from poolwise.registry import strategy
from poolwise.types import FloatArray, IndexArray, Picks, Rows, Selection

DRAWS = 64
"""Slots whose arms are drawn together."""


@strategy(
    "tailor",
    family="selector",
    paper="arXiv:2302.07317",
    cost="that of all its candidates",
    use_when="Classes are unbalanced and some strategy may find the rare ones; it learns which over many batches.",
    device=("scores", "D2 distances"),
)
def tailor(
    embeddings: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    history: tuple[Selection, ...] = (),
    labels: IndexArray | None = None,
    logits: Rows | None = None,
    head_weight: Rows | None = None,
    head_bias: Rows | None = None,
    *,
    batch_size: int,
    rng: np.random.Generator,
    candidates: tuple[str, ...] = CANDIDATES,
    discount: float = 0.7,
) -> Picks:
    """Give each slot of the batch to the candidate that a draw says will bring the rarest classes.

    Parameters
    ----------
    embeddings : (N, D) features
    labeled : (L,) int64 pool indices, sorted; may be empty
    unlabeled : (U,) int64 pool indices, sorted
    history : past batches of this strategy, oldest first; they know which candidate chose each item
    labels : (N,) int64, -1 where unlabeled
    logits : (N, C); for candidates that use them or probabilities
    head_weight, head_bias : (C, D), (C,); for candidates that use them
    batch_size : B, 1 <= B <= U
    rng : draws the beliefs and seeds the candidates
    candidates : any strategies but those that choose among strategies
    discount : of what was learned, with each batch, in (0, 1]

    Returns
    -------
    Picks; components name the candidate (`arm`, its number in the notes) of each item.
    """
    if not 0 < discount <= 1:
        raise OptionError(f"tailor: discount must be above 0 and at most 1; got {discount}.")
    now = situation(
        labeled,
        unlabeled,
        labels,
        embeddings=embeddings,
        logits=logits,
        head_weight=head_weight,
        head_bias=head_bias,
    )
    found = nominate(now, candidates, batch_size, int(rng.integers(2**62)))
    present, dense = np.unique(now.y, return_inverse=True)
    value = 1 / np.maximum(1, np.bincount(dense, minlength=len(present)))  # (P,)
    alpha, beta = beliefs(history, found.names, labels, present, discount)
    streams = [found.stream(k).tolist() for k in range(len(found.names))]
    chosen, arms = fill_slots(streams, alpha, beta, value, batch_size, rng)
    share = np.bincount(arms, minlength=len(found.names)) / batch_size
    notes = {
        "arms": list(found.names),
        "trust": {name: round(float(s), 4) for name, s in zip(found.names, share, strict=True)},
        **found.notes(),
    }
    return Picks(chosen, None, {"arm": arms}, notes)


def beliefs(
    history: Sequence[Selection],
    names: Sequence[str],
    labels: IndexArray | None,
    present: IndexArray,
    discount: float,
) -> tuple[FloatArray, FloatArray]:
    """Parameters (K, P) of the Beta laws of each candidate and class, from the labels its items got."""
    alpha, beta = np.ones((2, len(names), len(present)))
    for past in history:
        alpha, beta = discount * alpha, discount * beta
        asked = past.components.get("arm")
        if labels is None or asked is None:
            continue
        for index, arm in zip(past.indices.tolist(), asked.tolist(), strict=True):
            if labels[index] < 0 or not 0 <= arm < len(past.notes["arms"]):
                continue
            name = past.notes["arms"][int(arm)]
            if name in names:
                hit = present == labels[index]
                alpha[names.index(name)] += hit
                beta[names.index(name)] += ~hit
    return np.maximum(alpha, 1e-3), np.maximum(beta, 1e-3)


def fill_slots(
    streams: Sequence[Sequence[int]],
    alpha: FloatArray,
    beta: FloatArray,
    value: FloatArray,
    count: int,
    rng: np.random.Generator,
) -> tuple[IndexArray, IndexArray]:
    """Draw beliefs slot by slot; the best candidate adds its next item that is not taken yet.

    Parameters
    ----------
    streams : items of each of K candidates in its order, at least `count` each
    alpha, beta : (K, P) > 0
    value : (P,) of a label of each class
    count : slots
    rng : draws the beliefs

    Returns
    -------
    (count,) int64 items and (count,) int64 candidates.
    """
    taken: dict[int, int] = {}
    following = [iter(stream) for stream in streams]
    while len(taken) < count:
        theta = rng.beta(alpha, beta, size=(min(DRAWS, count - len(taken)), *alpha.shape))  # (slots, K, P)
        worth = theta @ value + (rng.random(theta.shape[:2]) if not len(value) else 0)  # no class known: by chance
        for arm in worth.argmax(axis=1).tolist():
            item = next(item for item in following[arm] if item not in taken)
            taken[item] = arm
    return np.array(list(taken), dtype=np.int64), np.array(list(taken.values()), dtype=np.int64)
