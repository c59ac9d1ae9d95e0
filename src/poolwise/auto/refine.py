"""REFINE: several strategies filter in turn, then what is left is covered.

Source: Huseljic et al., "REFINE: progressive filtering and coverage", CVPR 2026 (structure).
Differs from the paper: members, rounds and the size left (10 per pick) are ours; the last step is Uncertainty Herding.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from poolwise.auto.nominations import ask, nominate, situation
from poolwise.errors import OptionError
from poolwise.registry import strategy
from poolwise.types import IndexArray, Picks, Rows

MEMBERS = ("entropy", "margin", "typiclust")
LEFT = 10
"""Items per pick that the filter leaves."""


@strategy(
    "refine",
    family="selector",
    paper="Huseljic et al., CVPR 2026",
    cost="three passes of its members, then coverage of 10 B items",
    use_when="To narrow a large pool before a strategy that would be too slow for it.",
    device=("scores", "D2 distances"),
)
def refine(
    embeddings: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    labels: IndexArray | None = None,
    logits: Rows | None = None,
    *,
    batch_size: int,
    rng: np.random.Generator,
    members: tuple[str, ...] = MEMBERS,
    n_filters: int = 3,
) -> Picks:
    """Keep the union of what the members choose, again and again, and cover the pool's uncertain items from it.

    Parameters
    ----------
    embeddings : (N, D) features
    labeled : (L,) int64 pool indices, sorted; may be empty
    unlabeled : (U,) int64 pool indices, sorted
    labels : (N,) int64, -1 where unlabeled; for members that use them
    logits : (N, C); for members that use them or probabilities
    batch_size : B, 1 <= B <= U
    rng : seeds the members
    members : strategies that filter, at least one
    n_filters : how often, at least once

    Returns
    -------
    Picks of the last step; notes say how many items each round left.
    """
    if not members or n_filters < 1:
        raise OptionError(f"refine: needs at least one of members and of n_filters; got {members} and {n_filters}.")
    now = situation(labeled, unlabeled, labels, embeddings=embeddings, logits=logits)
    seed = int(rng.integers(2**62))
    target = min(LEFT * batch_size, len(unlabeled))
    left = [len(unlabeled)]
    for number in range(n_filters):
        wanted = left[0] * (target / left[0]) ** ((number + 1) / n_filters)
        each = int(np.clip(np.ceil(wanted / len(members)), batch_size, len(now.unlabeled)))
        now = replace(now, unlabeled=nominate(now, members, each, seed).rows)
        left.append(len(now.unlabeled))
    name = "maxherding" if logits is None or not len(labeled) else "uherding"
    chosen = ask(now, name, batch_size, seed)
    notes = {"left": left, "followed": name, **chosen.notes}
    return Picks(chosen.indices, chosen.scores, chosen.components, notes)
