"""FALCUN: draw items that are uncertain and whose predictions differ from those drawn already.

Source: Gilhuber, Beer, Ma & Seidl, "FALCUN: A Simple and Efficient Deep Active Learning Strategy", ECML PKDD 2024,
Algorithm 1; gamma = 10.
Differs from the paper: beyond `classes` classes each prediction keeps its largest probabilities, and the rest counts as
one class more; the note `largest_rest` says how much that was at most.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.sampling import row_blocks
from poolwise.kernels.scores import top_two
from poolwise.progress import task
from poolwise.registry import strategy
from poolwise.types import Array, FloatArray, IndexArray, Picks, Rows

ROUNDING = 4e-3
"""Probabilities of two items sum to 1 within 1e-3 each: twice a difference in one class is that much off at most."""


@strategy(
    "falcun",
    family="hybrid",
    paper="ECML PKDD 2024",
    cost="one pass, then B passes over a few numbers an item: half a minute for B = 1000",
    streams=True,
    use_when="Only predictions are there, no embeddings, as with a remote model.",
)
def falcun(
    probs: Rows,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    gamma: float = 10.0,
    classes: int = 16,
) -> Picks:
    """Draw items one by one with probability proportional to (uncertainty + scaled distance to the batch)^gamma.

    Parameters
    ----------
    probs : (N, C) class probabilities
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : source of the draws
    gamma : >= 0; 0 draws uniformly, large values take the best
    classes : largest probabilities kept of each item, at least 1; exact if C is not larger

    Returns
    -------
    Picks; scores are uncertainty + scaled distance when drawn, in [0, 2].

    Raises
    ------
    OptionError
        If gamma or classes is out of range.

    Notes
    -----
    Time O(U C), then per pick O(U), and min(C, classes) for each item that may be near. Memory 8 U min(C, classes)
    bytes.
    """
    if not gamma >= 0 or classes < 1:
        raise OptionError(f"falcun: gamma must be at least 0 and classes at least 1; got {gamma} and {classes}.")
    n_classes = int(probs.shape[1])
    names, values, rest = _largest(probs, unlabeled, classes)
    first = names[np.arange(len(values)), values.argmax(axis=1)]
    largest, second = top_two(values)
    doubt = 1 - largest.astype(np.float64) + np.maximum(second, 0)  # of one class kept alone the second is -inf
    apart, free = doubt.copy(), np.ones(len(unlabeled), dtype=bool)
    chosen = np.empty(batch_size, dtype=np.int64)
    found = np.empty((2, batch_size))
    with task("drawing", batch_size) as work:
        for rank in range(batch_size):
            low, high = apart.min(where=free, initial=np.inf), apart.max(where=free, initial=0.0)
            scaled = (apart - low) / (high - low) if high > low else np.zeros(len(apart))
            law = np.where(free, np.maximum(doubt + scaled, 0) ** gamma, 0)
            position = _draw(law, free, rng)
            chosen[rank], found[:, rank] = position, (doubt[position], scaled[position])
            free[position] = False
            picked = _dense(names[position], values[position], n_classes)
            near = np.flatnonzero(2 * np.abs(largest - picked[first]) - ROUNDING < apart)  # others cannot come nearer
            apart[near] = np.minimum(apart[near], _l1(names[near], values[near], rest[near], picked, rest[position]))
            work.advance()
    return Picks(
        unlabeled[chosen],
        found.sum(axis=0),
        {"uncertainty": found[0], "distance": found[1]},
        {"largest_rest": float(rest.max(initial=0))},
    )


def _largest(probs: Rows, indices: IndexArray, count: int) -> tuple[Array, FloatArray, FloatArray]:
    """Classes (n, m) int32, probabilities (n, m) float32, and what is left of each row (n,)."""
    n_classes = int(probs.shape[1])
    kept = min(count, n_classes)
    names = np.empty((len(indices), kept), dtype=np.int32)
    values, rest = np.empty(names.shape, dtype=np.float32), np.zeros(len(indices), dtype=np.float32)
    for start, pool, blocks, local in row_blocks({"probs": probs}, indices, np.float32):
        p, part = blocks["probs"][local], slice(start, start + len(pool))
        top = np.argpartition(p, n_classes - kept, axis=1)[:, n_classes - kept :] if kept < n_classes else None
        names[part] = np.arange(n_classes) if top is None else top
        values[part] = p if top is None else np.take_along_axis(p, top, axis=1)
        rest[part] = 0 if top is None else np.maximum(1 - values[part].sum(axis=1), 0)
    return names, values, rest


def _dense(names: Array, values: FloatArray, n_classes: int) -> FloatArray:
    """Probabilities (C,) of one row, 0 for the classes that were not kept."""
    out: FloatArray = np.zeros(n_classes, dtype=values.dtype)
    out[names] = values
    return out


def _l1(names: Array, values: FloatArray, rest: FloatArray, picked: FloatArray, picked_rest: float) -> FloatArray:
    """Sum of absolute differences between each row and a picked one (C,); what is left counts as one class.

    It is at least twice the difference in any single class, because both sum to 1.
    """
    there = picked[names]  # (n, m)
    elsewhere = picked.sum() - there.sum(axis=1)
    return np.asarray(np.abs(values - there).sum(axis=1) + np.maximum(elsewhere, 0) + np.abs(rest - picked_rest))


def _draw(law: FloatArray, free: Array, rng: np.random.Generator) -> int:
    if not law.any():
        law = free.astype(np.float64)
    reach = np.cumsum(law)
    position = int(np.searchsorted(reach, rng.random() * reach[-1], side="right"))
    return min(position, int(np.flatnonzero(law)[-1]))
