"""ensemble: several strategies nominate, equal weights decide; with its simpler forms as honest controls.

Source: our own; the controls against which a learned choice among strategies has to prove itself: uniform rank average,
vote count, random items of the union, one random strategy per batch.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from poolwise.auto.diversity import diverse_batch, top_batch
from poolwise.auto.nominations import CANDIDATES, nominate, situation
from poolwise.registry import strategy
from poolwise.types import FloatArray, IndexArray, Picks, Rows


@strategy(
    "ensemble",
    family="selector",
    paper="ours",
    cost="that of all its candidates",
    use_when="You want several strategies to have a say; it takes any list of them.",
    device=("scores", "D2 distances"),
)
def ensemble(
    embeddings: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    labels: IndexArray | None = None,
    logits: Rows | None = None,
    head_weight: Rows | None = None,
    head_bias: Rows | None = None,
    prob_samples: Rows | None = None,
    *,
    batch_size: int,
    rng: np.random.Generator,
    candidates: tuple[str, ...] = CANDIDATES,
    combine: Literal["ranks", "votes", "any", "one"] = "ranks",
    diverse: bool = True,
) -> Picks:
    """Let each candidate nominate a batch, and take what they agree on, spread over the space.

    Parameters
    ----------
    embeddings : (N, D) features
    labeled : (L,) int64 pool indices, sorted; may be empty
    unlabeled : (U,) int64 pool indices, sorted
    labels : (N,) int64, -1 where unlabeled; for candidates that use them
    logits : (N, C); for candidates that use them or probabilities
    head_weight, head_bias : (C, D), (C,); for candidates that use them
    prob_samples : (N, S, C); for candidates that use them
    batch_size : B, 1 <= B <= U
    rng : seeds the candidates and all drawing
    candidates : any strategies but those that choose among strategies
    combine : "ranks" averages graded nominations, "votes" counts them, "any" draws from the union at random,
        "one" follows one candidate drawn at random
    diverse : cover the nominated items, weighted by their scores, in place of the best scores alone; for "ranks" and
        "votes"

    Returns
    -------
    Picks; scores are mean grades, counts, gains in coverage, or none; components how many candidates nominated an item.
    """
    now = situation(
        labeled,
        unlabeled,
        labels,
        embeddings=embeddings,
        logits=logits,
        head_weight=head_weight,
        head_bias=head_bias,
        prob_samples=prob_samples,
    )
    found = nominate(now, candidates, batch_size, int(rng.integers(2**62)))
    votes = (found.grades > 0).sum(axis=1)
    notes = {"combine": combine, "nominated": len(found.rows), **found.notes()}
    scores: FloatArray | None = None
    if combine == "one":
        arm = int(rng.integers(len(found.names)))
        chosen = found.stream(arm)
        notes["followed"] = found.names[arm]
    elif combine == "any":
        chosen = rng.permutation(found.rows)[:batch_size]
    else:
        weight = votes.astype(float) if combine == "votes" else found.grades.mean(axis=1)
        if diverse:
            chosen, scores = diverse_batch(embeddings, found.rows, weight, labeled, batch_size, rng)
        else:
            chosen, scores = top_batch(found.rows, weight, batch_size)
    return Picks(chosen, scores, {"votes": votes[np.searchsorted(found.rows, chosen)]}, notes)
