"""DropQuery: keep items whose predicted class changes when features are dropped, and take the middles of clusters.

Source: Gupte et al., "Revisiting Active Learning in the Era of Vision Foundation Models", TMLR 2024, section 4.
Differs from the paper: at most 50 B candidates are clustered, those with most changes; the dropout rate is rounded to
1/256, so that a mask is one random byte a feature.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.blocks import load_rows
from poolwise.kernels.distances import UnitRows
from poolwise.kernels.middles import middles
from poolwise.progress import task
from poolwise.registry import strategy
from poolwise.types import Array, FloatArray, IndexArray, Picks, Rows

MASK_ROWS = 1024
"""Items that share one stream of masks: those with the same pool index // MASK_ROWS."""

ENOUGH, MOST = 25, 50
"""Candidates per pick below which the threshold falls, and beyond which the rest is left out."""


@strategy(
    "dropquery",
    family="hybrid",
    paper="arXiv:2401.14555",
    cost="four passes through the head, then k-means with B clusters on at most 50 B items",
    use_when="Frozen foundation-model features and a linear head, at any budget.",
    device=("D2 distances",),
)
def dropquery(
    embeddings: Rows,
    head_weight: Array,
    unlabeled: IndexArray,
    head_bias: Array | None = None,
    *,
    batch_size: int,
    rng: np.random.Generator,
    passes: int = 3,
    rate: float = 0.75,
) -> Picks:
    """Cluster the items whose predicted class most dropout passes change, and take one of each cluster.

    Parameters
    ----------
    embeddings : (N, D) features that the head gets
    head_weight : (C, D)
    unlabeled : (U,) int64 pool indices, sorted
    head_bias : (C,), or None for no bias
    batch_size : B, 1 <= B <= U
    rng : keys the masks, seeds the clusters, fills up
    passes : M dropout passes, at least 1
    rate : share of features that a pass drops, 0 <= rate < 1

    Returns
    -------
    Picks; scores are the shares of passes that change the class.

    Raises
    ------
    OptionError
        If passes or rate is out of range.

    Notes
    -----
    Time (M + 1) U D C, and k-means. A mask depends on the seed, the pass and the pool index only.
    """
    if passes < 1 or not 0 <= rate < 1:
        raise OptionError(f"dropquery: passes must be at least 1 and rate in [0, 1); got {passes} and {rate}.")
    weight = np.asarray(head_weight, dtype=np.float32)
    bias = np.zeros(len(weight), dtype=np.float32) if head_bias is None else np.asarray(head_bias, dtype=np.float32)
    key = int(rng.integers(2**63))
    changes = count_changes(embeddings, weight, bias, unlabeled, passes, rate, key)
    threshold = passes // 2
    while threshold > 0 and (changes > threshold).sum() < ENOUGH * batch_size:
        threshold -= 1
    noise = rng.permutation(len(unlabeled))
    candidates = np.flatnonzero(changes > threshold)
    n_candidates = len(candidates)
    if n_candidates < batch_size:
        rest = noise[changes[noise] <= threshold]
        chosen = np.concatenate([candidates, rest[: batch_size - n_candidates]])
    else:
        order = np.lexsort((noise[candidates], -changes[candidates]))
        candidates = np.sort(candidates[order[: MOST * batch_size]])
        chosen = candidates[middles(UnitRows(embeddings), unlabeled[candidates], batch_size, rng)[0]]
    return Picks(
        unlabeled[chosen],
        changes[chosen] / passes,
        {"changes": changes[chosen]},
        {"candidates": n_candidates, "threshold": threshold},
    )


def count_changes(
    embeddings: Rows, weight: FloatArray, bias: FloatArray, indices: IndexArray, passes: int, rate: float, key: int
) -> IndexArray:
    """Count the dropout passes that change the predicted class of each item, (n,) int64 in [0, passes]."""
    drop = min(round(rate * 256), 255)
    n_features = int(embeddings.shape[1])
    out = np.zeros(len(indices), dtype=np.int64)
    edges = np.flatnonzero(np.diff(indices // MASK_ROWS, prepend=-1, append=-1))
    with task("dropping features", len(edges) - 1) as work:
        for start, stop in pairwise(edges.tolist()):
            group, within = divmod(indices[start:stop], MASK_ROWS)
            x = load_rows(embeddings, indices[start:stop])
            predicted = (x @ weight.T + bias).argmax(axis=1)
            x = x * np.float32(256 / (256 - drop))
            for t in range(passes):
                masks = dropout_bytes(key, int(group[0]), t, n_features)[within] >= drop
                out[start:stop] += ((x * masks) @ weight.T + bias).argmax(axis=1) != predicted
            work.advance()
    return out


def dropout_bytes(key: int, group: int, number: int, n_features: int) -> Array:
    """Random bytes (MASK_ROWS, D) uint8 of one pass over one group of items."""
    stream = np.random.Philox(key=key, counter=[0, 0, group, number])
    words = stream.random_raw(-(-MASK_ROWS * n_features // 8))
    return np.asarray(words.astype("<u8").view(np.uint8)[: MASK_ROWS * n_features].reshape(MASK_ROWS, n_features))
