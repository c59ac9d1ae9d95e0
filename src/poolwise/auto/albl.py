"""ALBL, active learning by learning: a bandit over strategies, rewarded by importance-weighted accuracy.

Source: Hsu & Lin, "Active Learning by Learning", AAAI 2015, Algorithm 1, with EXP4.P (`exp4p`); the form with one
strategy per batch is the baseline of Wang et al., "AutoAL", ICML 2025.
Differs from the paper: the smallest probability is put on experts, not items, which alone works for large pools; the
model is retrained per batch, so all draws of a batch share one reward; the accuracy is normalised by the sum of its
weights, which bounds it (`reward="weighted"` leaves that out).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from poolwise.auto.exp4p import batch_updated, least_probability, probabilities, updated, weighted_accuracy
from poolwise.auto.nominations import CANDIDATES, Nominations, Situation, nominate, situation
from poolwise.errors import OptionError
from poolwise.kernels.blocks import load_rows
from poolwise.registry import strategy
from poolwise.types import FloatArray, IndexArray, Picks, Rows, Selection

MOST_CANDIDATES = 52
"""Which of them advised an item is kept as bits of a number, and components of a batch are floats."""


@strategy(
    "albl",
    family="selector",
    paper="Hsu & Lin, AAAI 2015",
    cost="that of all its candidates",
    use_when="To compare with the classical bandit over strategies; it needs dozens of batches to learn.",
    device=("scores", "D2 distances"),
)
def albl(
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
    per: Literal["item", "batch"] = "item",
    reward: Literal["normalized", "weighted"] = "normalized",
    delta: float = 0.1,
) -> Picks:
    """Draw the strategy of each item by weights that earlier batches earned.

    Parameters
    ----------
    embeddings : (N, D) features
    labeled : (L,) int64 pool indices, sorted; may be empty
    unlabeled : (U,) int64 pool indices, sorted
    history : past batches of this strategy, oldest first; they know weights, draws and probabilities
    labels : (N,) int64, -1 where unlabeled
    logits : (N, C) of the present model, which earn the reward of the last batch
    head_weight, head_bias : (C, D), (C,); for candidates that use them
    batch_size : B, 1 <= B <= U
    rng : draws, and seeds the candidates
    candidates : any strategies but those that choose among strategies
    per : "item" draws a strategy for each item, "batch" one for the whole batch
    reward : accuracy on the drawn items, weighted by 1 / probability: "normalized" by the sum of the weights, or
        "weighted" by number of items alone, cut off at 1; for per="item"
    delta : probability that the bound fails, in (0, 1]

    Returns
    -------
    Picks; components and notes hold what the next batch needs to know.
    """
    if not 0 < delta <= 1:
        raise OptionError(f"albl: delta must be above 0 and at most 1; got {delta}.")
    if len(candidates) > MOST_CANDIDATES:
        raise OptionError(
            f"albl: candidates must be at most {MOST_CANDIDATES} strategies, because a batch keeps one bit of a "
            f"float for each; got {len(candidates)}."
        )
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
    past = [one for one in history if one.notes.get("per") == per and one.notes.get("arms") == list(found.names)]
    if per == "batch":
        return _one_per_batch(now, found, past, batch_size, delta, rng)
    n_draws = batch_size * (len(past) + 1)
    weights: FloatArray = np.ones(len(found.names))
    earned = None
    if past:
        last = past[-1]
        weights = np.array(last.notes["weights"])
        earned = _reward(now, past, reward)
        if earned is not None:
            gains = earned * _advised_sum(last)
            bonus = np.array(last.notes["bonus"])
            weights = updated(weights, last.notes["least"], gains, bonus, n_draws, delta)
    least = least_probability(len(found.names), n_draws)
    p = probabilities(weights, least)
    chosen, q, advised, bonus = draw_items([found.stream(k) for k in range(len(found.names))], p, batch_size, rng)
    notes = _notes(found, "item", weights, p, least, earned) | {"bonus": bonus.tolist()}
    return Picks(chosen, None, {"probability": q, "advised": advised}, notes)


def draw_items(
    streams: Sequence[IndexArray], p: FloatArray, count: int, rng: np.random.Generator
) -> tuple[IndexArray, FloatArray, IndexArray, FloatArray]:
    """Draw items one by one: each expert advises its next item that is not taken; one expert's advice is followed.

    Returns
    -------
    (count,) items, (count,) probability of each, (count,) experts that advised it as bits, and (N,) sum over draws of
    advice . 1 / q.
    """
    at = np.zeros(len(streams), dtype=np.int64)
    taken: set[int] = set()
    bonus = np.zeros(len(streams))
    items, q, advised = np.empty(count, dtype=np.int64), np.empty(count), np.empty(count, dtype=np.int64)
    for draw, arm in enumerate(rng.choice(len(streams), size=count, p=p / p.sum()).tolist()):
        for k, stream in enumerate(streams):
            while int(stream[at[k]]) in taken:
                at[k] += 1
        advice = np.array([stream[place] for stream, place in zip(streams, at, strict=True)])
        agree = advice[:, None] == advice  # (N, N)
        chance = agree @ p
        items[draw], q[draw] = advice[arm], chance[arm]
        advised[draw] = int(sum(1 << k for k in np.flatnonzero(agree[arm])))
        bonus += 1 / chance
        taken.add(int(advice[arm]))
    return items, q, advised, bonus


def _advised_sum(last: Selection) -> FloatArray:
    """Sum of 1 / q over the drawn items that each expert advised, (N,); items drawn by an audit have no q."""
    q = np.nan_to_num(np.asarray(last.components["probability"], dtype=np.float64))
    bits = np.nan_to_num(np.asarray(last.components["advised"], dtype=np.float64)).astype(np.int64)
    values = np.divide(1.0, q, out=np.zeros_like(q), where=q > 0)
    n = len(last.notes["arms"])
    return np.array([float(values[(bits >> k) & 1 == 1].sum()) for k in range(n)])


def _right(now: Situation, indices: IndexArray) -> FloatArray:
    """1 where the model predicts the label of an item, 0 where not, NaN where it has none."""
    known = now.y[:0] if now.labels is None else now.labels[indices]
    out = np.full(len(indices), np.nan)
    if len(known) and (known >= 0).any():
        predicted = load_rows(now.arrays["logits"], indices[known >= 0]).argmax(axis=1)
        out[known >= 0] = predicted == known[known >= 0]
    return out


def _reward(now: Situation, past: Sequence[Selection], kind: str) -> float | None:
    """Importance-weighted accuracy on all items drawn so far, in [0, 1]; None without model or labels."""
    if "logits" not in now.arrays:
        return None
    right = _right(now, np.concatenate([one.indices for one in past]))
    q = np.concatenate([one.components["probability"] for one in past])
    known = np.isfinite(right) & (q > 0)
    if not known.any():
        return None
    if kind == "normalized":
        return float((right[known] / q[known]).sum() / (1 / q[known]).sum())
    n_items = len(now.labeled) + len(now.unlabeled)
    return min(1.0, weighted_accuracy(right[known] > 0, q[known], n_items))


def _one_per_batch(
    now: Situation,
    found: Nominations,
    past: Sequence[Selection],
    batch_size: int,
    delta: float,
    rng: np.random.Generator,
) -> Picks:
    """The form with one expert per batch, whose reward is the mean of 1[right] / a over all labeled items."""
    n = len(found.names)
    least = 1 / (10 * n)
    weights: FloatArray = np.ones(n)
    earned = None
    if past:
        last = past[-1]
        weights = np.array(last.notes["weights"])
        if "logits" in now.arrays:
            importance = {int(i): one.notes["probability"] for one in past for i in one.indices}
            a = np.array([importance.get(int(i), 1.0) for i in now.labeled])
            earned = float(np.nanmean(_right(now, now.labeled) / a))
            weights = batch_updated(weights, least, last.notes["arm"], earned, last.notes["probability"], delta)
    p = probabilities(weights, least)
    arm = int(rng.choice(n, p=p / p.sum()))
    notes = _notes(found, "batch", weights, p, least, earned)
    notes |= {"arm": arm, "followed": found.names[arm], "probability": float(p[arm])}
    return Picks(found.stream(arm), None, {}, notes)


def _notes(
    found: Nominations, per: str, weights: FloatArray, p: FloatArray, least: float, earned: float | None
) -> dict[str, Any]:
    notes: dict[str, Any] = {
        "per": per,
        "arms": list(found.names),
        "weights": weights.tolist(),
        "trust": {name: round(float(one), 4) for name, one in zip(found.names, p, strict=True)},
        "least": least,
        **found.notes(),
    }
    if earned is not None:
        notes["reward"] = earned
    return notes
