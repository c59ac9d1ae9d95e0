"""AutoAL: learn on the labeled items how far to trust each candidate, then let them choose with these weights.

Source: Wang et al., "AutoAL: Automated Active Learning with Differentiable Query Strategy Search", ICML 2025.
Differs from the paper: embeddings and linear heads in place of image networks; a calibrated relaxed top b
(`relaxed_top`); items are joined by pool index; three disjoint parts of the labeled items (`rehearsal`) in place of
two halves; by default the value of a choice is the validation loss it leads to (`ridge`, exact derivative), the
paper's aim at items of high loss is `utility="loss"`; weights shrink to equal ones while labels are few; the batch
is spread over the space. The loss-prediction module is left out: in the published code nothing depends on it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from poolwise.auto.clock import Clock
from poolwise.auto.diversity import diverse_batch, top_batch
from poolwise.auto.nominations import CANDIDATES, nominate, situation
from poolwise.auto.rehearsal import Rehearsal, rehearse
from poolwise.auto.search import Objective, Trial, aim_at, compared, item_weights, learn
from poolwise.errors import OptionError
from poolwise.kernels.blocks import Softmax, load_rows
from poolwise.kernels.distances import UnitRows, min_sq_distance
from poolwise.kernels.scores import entropy, margin
from poolwise.registry import strategy
from poolwise.types import Array, FloatArray, IndexArray, Picks, Rows


@strategy(
    "autoal",
    family="selector",
    paper="arXiv:2410.13853",
    cost="that of all its candidates, and seconds for the search",
    use_when="To study learned trust in strategies; measured against equal weights (`ensemble`), which cost less.",
    device=("scores", "D2 distances"),
)
def autoal(
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
    utility: Literal["gain", "loss", "none"] = "gain",
    weights: Literal["global", "items"] = "global",
    splits: int = 3,
    steps: int = 25,
    shrink: float = 200.0,
    diverse: bool = True,
    explore: float = 0.0,
) -> Picks:
    """Weigh the candidates' nominations by weights learned in rehearsal on the labeled items.

    Parameters
    ----------
    embeddings : (N, D) features
    labeled : (L,) int64 pool indices, sorted; may be empty
    unlabeled : (U,) int64 pool indices, sorted
    labels : (N,) int64, -1 where unlabeled; without them all weights are equal
    logits : (N, C); for candidates that use them or probabilities, and for item-wise weights
    head_weight, head_bias : (C, D), (C,); for candidates that use them
    prob_samples : (N, S, C); for candidates that use them
    batch_size : B, 1 <= B <= U
    rng : seeds the candidates, the splits and all drawing
    candidates : any strategies but those that choose among strategies
    utility : what the search aims at: "gain" in validation loss, items of high "loss" (the paper), "none" for equal
        weights
    weights : "global" one per candidate, "items" from features of each item
    splits : rehearsals, at least 1
    steps : gradient steps, at least 1
    shrink : learned weights count as L / (L + shrink), equal ones the rest, >= 0
    diverse : cover the nominated items, weighted by their scores, in place of the best scores alone
    explore : share of the batch drawn at random from all unlabeled items, in [0, 1)

    Returns
    -------
    Picks; notes hold the weights, what they gained over equal ones in rehearsal, and where the seconds went.

    Notes
    -----
    Each candidate runs once on the pool and once per split on at most 2000 labeled items; task model and labels of
    unlabeled items are never touched. A step takes O(splits (L 128^2 + 128^3)).
    """
    if splits < 1 or steps < 1 or not shrink >= 0 or not 0 <= explore < 1:
        raise OptionError(
            "autoal: splits and steps must be at least 1, shrink at least 0, explore in [0, 1); "
            f"got {splits}, {steps}, {shrink}, {explore}."
        )
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
    clock = Clock()
    found = nominate(now, candidates, batch_size, int(rng.integers(2**62)))
    clock.lap("scoring")
    tried = [] if utility == "none" or len(found.names) == 1 else rehearse(now, found.names, splits, rng)
    trust: FloatArray = np.full((len(found.rows), len(found.names)), 1 / len(found.names))
    facts: dict[str, Any] = {"search": "equal weights" if utility == "none" else "too few labels or candidates"}
    if tried:
        trials = [_trial(one, embeddings, utility, weights) for one in tried]
        parameters = learn(trials, steps)
        features = _features(embeddings, logits, found.rows, labeled, weights)
        share = len(labeled) / (len(labeled) + shrink)
        trust = share * item_weights(parameters, features) + (1 - share) * trust
        rehearsed = [share * item_weights(parameters, t.features) + (1 - share) / len(found.names) for t in trials]
        facts = {"search": utility, **compared(trials, rehearsed)}
    clock.lap("search")
    scores = (found.grades * trust).sum(axis=1)
    n_random = int(explore * batch_size)
    if diverse:
        chosen, gains = diverse_batch(embeddings, found.rows, scores, labeled, batch_size - n_random, rng)
    else:
        chosen, gains = top_batch(found.rows, scores, batch_size - n_random)
    if n_random:
        rest = np.setdiff1d(unlabeled, chosen, assume_unique=True)
        chosen = np.concatenate([chosen, rng.permutation(rest)[:n_random]])
        gains = np.concatenate([gains, np.zeros(n_random)])
    clock.lap("choice")
    return Picks(
        chosen,
        gains,
        {"votes": (found.at(chosen) > 0).sum(axis=1)},
        {
            "trust": {name: round(float(w), 4) for name, w in zip(found.names, trust.mean(axis=0), strict=True)},
            **facts,
            **found.notes(),
            "nominated": len(found.rows),
            **clock.laps,
        },
    )


def _trial(one: Rehearsal, embeddings: Rows, utility: str, weights: str) -> Trial:
    objective: Objective = one.problem.loss if utility == "gain" else aim_at(one.surprise, one.quota)
    features = _of_items(one.probs, embeddings, one.rows, one.known) if weights == "items" else _ones(one.rows)
    return Trial(one.grades, features, one.quota, objective)


def _features(embeddings: Rows, logits: Rows | None, rows: IndexArray, labeled: IndexArray, weights: str) -> FloatArray:
    if weights == "global":
        return _ones(rows)
    probs = np.ones((len(rows), 1)) if logits is None else load_rows(Softmax(logits), rows, np.float64)
    return _of_items(probs, embeddings, rows, labeled)


def _ones(rows: IndexArray) -> FloatArray:
    return np.ones((len(rows), 1))


def _of_items(probs: Array, embeddings: Rows, rows: IndexArray, labeled: IndexArray) -> FloatArray:
    """Constant, uncertainty, entropy as a share of its maximum, and rank of the distance to labeled items: (n, 4)."""
    n = len(rows)
    unit = UnitRows(embeddings)
    gap = min_sq_distance(unit, rows, load_rows(unit, labeled))
    rank = np.argsort(np.argsort(gap, kind="stable"), kind="stable") / max(1, n - 1)
    if probs.shape[1] < 2:
        return np.column_stack([np.ones(n), np.zeros((n, 2)), rank])
    return np.column_stack([np.ones(n), margin(probs), entropy(probs) / np.log(probs.shape[1]), rank])
