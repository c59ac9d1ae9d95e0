"""look: rehearse each candidate on the labeled items, and follow the one that helped most.

Source: our own; a one-step look-ahead over strategies, after Roy & McCallum, "Toward Optimal Active Learning through
Sampling Estimation of Error Reduction", ICML 2001, with strategies in place of items.
"""

from __future__ import annotations

import numpy as np

from poolwise.auto.clock import Clock
from poolwise.auto.nominations import CANDIDATES, nominate, situation
from poolwise.auto.rehearsal import rehearse
from poolwise.errors import OptionError
from poolwise.registry import strategy
from poolwise.types import IndexArray, Picks, Rows


@strategy(
    "look",
    family="selector",
    paper="ours; after Roy & McCallum, ICML 2001",
    cost="that of all its candidates, and a rehearsal on the labeled items",
    use_when="To study look-ahead among strategies; with few labels its estimate is mostly noise.",
    device=("scores", "D2 distances"),
)
def look(
    embeddings: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    labels: IndexArray | None = None,
    logits: Rows | None = None,
    head_weight: Rows | None = None,
    head_bias: Rows | None = None,
    *,
    batch_size: int,
    rng: np.random.Generator,
    candidates: tuple[str, ...] = CANDIDATES,
    splits: int = 5,
) -> Picks:
    """Follow the candidate whose choice lowered the validation loss most in rehearsal; one at random without labels.

    Parameters
    ----------
    embeddings : (N, D) features
    labeled : (L,) int64 pool indices, sorted; may be empty
    unlabeled : (U,) int64 pool indices, sorted
    labels : (N,) int64, -1 where unlabeled
    logits : (N, C); for candidates that use them or probabilities
    head_weight, head_bias : (C, D), (C,); for candidates that use them
    batch_size : B, 1 <= B <= U
    rng : seeds the candidates and the splits
    candidates : any strategies but those that choose among strategies
    splits : rehearsals, at least 1

    Returns
    -------
    Picks; notes hold the mean validation loss of each candidate, and by how much the one followed lowered it.
    """
    if splits < 1:
        raise OptionError(f"look: splits must be at least 1; got {splits}.")
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
    clock = Clock()
    tried = rehearse(now, found.names, splits, rng)
    arm = int(rng.integers(len(found.names)))
    losses, expected = {}, {}
    if tried:
        table = np.array([[one.problem.loss((g > 0).astype(float))[0] for g in one.grades.T] for one in tried])
        arm = int(table.mean(axis=0).argmin())
        losses = dict(zip(found.names, table.mean(axis=0).round(6).tolist(), strict=True))
        nothing = np.mean([one.problem.loss(np.zeros(len(one.rows)))[0] for one in tried])
        expected = {"expected_gain": float(nothing - table[:, arm].mean())}
    clock.lap("search")
    notes = {"followed": found.names[arm], "validation_loss": losses, **expected, **found.notes(), **clock.laps}
    return Picks(found.stream(arm), np.linspace(1, 0.5, batch_size), {}, notes)
