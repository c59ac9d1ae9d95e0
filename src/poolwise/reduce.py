"""Reducers: let only a part of the unlabeled items compete, before any strategy looks at them.

Source: Coleman et al., "Similarity Search for Efficient Active Learning and Search of Rare Concepts", AAAI 2022
(SEALS: neighbours of labeled items); Lesci & Vlachos, "AnchorAL: Computationally Efficient Active Learning for
Large and Imbalanced Datasets", NAACL 2024 (anchors).
Differs from the papers: SEALS keeps a tenth of its items as random ones, so that isolated classes can be reached;
anchors are spread inside a class by D2 sampling.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from poolwise.errors import ArrayMissingError, BudgetError, OptionError
from poolwise.kernels import scores
from poolwise.kernels.blocks import load_rows
from poolwise.kernels.d2 import d2_sample
from poolwise.kernels.distances import UnitRows
from poolwise.kernels.sampling import row_blocks, stream_scores, stream_top
from poolwise.kernels.vectors import PlainVectors
from poolwise.types import ARRAYS, Array, FloatArray, IndexArray, Rows

NEEDS: dict[str, tuple[str, ...]] = {
    "all": (),
    "random": (),
    "margin": ("probs",),
    "seals": ("embeddings",),
    "anchors": ("embeddings", "labels"),
}
"""Arrays that each reducer reads."""

KEEP = 10_000
"""Items kept at least, unless told otherwise (Lesci & Vlachos, section 4)."""
NEIGHBORS = 100
"""Neighbours of each labeled item (Coleman et al., section 4)."""
ANCHORS = 10
"""Anchors of each class (Lesci & Vlachos, section 4)."""
RANDOM_SHARE = 0.1


def narrow(
    method: str,
    *,
    labeled: IndexArray,
    unlabeled: IndexArray,
    batch_size: int,
    rng: np.random.Generator,
    keep: int | None = None,
    embeddings: Rows | None = None,
    probs: Rows | None = None,
    labels: Array | None = None,
) -> IndexArray:
    """Choose the unlabeled items that compete.

    Parameters
    ----------
    method : "random", "margin" (smallest margins), "seals" (the 100 nearest unlabeled neighbours of every labeled item,
        and random ones), "anchors" (most similar on average to up to 10 labeled items of each class), or "all"
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted
    batch_size : B; never fewer are kept
    keep : items to keep, at least B; default max(10 B, 10,000), for "seals" as many as there are neighbours
    embeddings, probs, labels : (N, D), (N, C), (N,); see NEEDS

    Returns
    -------
    Sorted int64 pool indices. With nothing labeled, "seals" and "anchors" are "random".

    Raises
    ------
    ArrayMissingError
        If an array that the method reads is missing.
    OptionError
        If the method is unknown.
    BudgetError
        If keep is below B.

    Notes
    -----
    "random" O(U), "margin" one pass over probs, "anchors" one pass over embeddings, "seals" L U D.
    """
    if method not in NEEDS:
        raise OptionError(f"no reducer named {method!r}; expected one of {', '.join(NEEDS)}.")
    given: dict[str, Any] = {"embeddings": embeddings, "probs": probs, "labels": labels}
    for name in NEEDS[method]:
        if given[name] is None:
            raise ArrayMissingError(
                f"within={method!r} needs {name} {ARRAYS[name].shape}, which is missing; "
                f"supply it with {ARRAYS[name].supplied_by}."
            )
    if keep is not None and keep < batch_size:
        raise BudgetError(f"keep must be at least batch_size = {batch_size}; got {keep}. Keep more items.")
    size = min(max(10 * batch_size, KEEP) if keep is None else keep, len(unlabeled))
    if method == "all":
        return unlabeled
    if method == "margin" and probs is not None:
        return np.sort(stream_top(scores.margin, {"probs": probs}, unlabeled, size)[0])
    if method == "seals" and embeddings is not None and len(labeled):
        limit = len(unlabeled) if keep is None else size
        return _seals(embeddings, labeled, unlabeled, limit, batch_size, rng)
    if method == "anchors" and embeddings is not None and labels is not None and len(labeled):
        target = _anchor_mean(embeddings, labeled, np.asarray(labels)[labeled], rng)
        similarity = stream_scores(
            lambda embeddings: embeddings @ target, {"embeddings": UnitRows(embeddings)}, unlabeled
        )
        order = np.lexsort((unlabeled, -similarity))
        return np.sort(unlabeled[order[:size]])
    return np.sort(rng.permutation(unlabeled)[:size])


def _anchor_mean(embeddings: Rows, labeled: IndexArray, classes: IndexArray, rng: np.random.Generator) -> FloatArray:
    """Mean of all anchors, (D,): its inner product with a row is the row's mean similarity to them."""
    rows = UnitRows(embeddings)
    anchors = []
    for c in np.unique(classes):
        members = labeled[classes == c]
        vectors = PlainVectors(rows, members)
        anchors.append(members[d2_sample([vectors], min(ANCHORS, len(members)), rng).positions])
    mean: FloatArray = load_rows(rows, np.sort(np.concatenate(anchors)), np.float64).mean(axis=0)
    return mean


def _seals(
    embeddings: Rows, labeled: IndexArray, unlabeled: IndexArray, limit: int, batch_size: int, rng: np.random.Generator
) -> IndexArray:
    """Nearest unlabeled neighbours of labeled items, nearest first up to the limit, and random items."""
    rows = UnitRows(embeddings)
    count = min(NEIGHBORS, len(unlabeled))
    nearest = np.full(len(unlabeled), -np.inf)  # similarity to the nearest labeled item that counts it as neighbour
    for first in range(0, len(labeled), 256):
        centres = load_rows(rows, labeled[first : first + 256])  # (m, D)
        best = np.full((len(centres), count), -np.inf, dtype=np.float32)
        who = np.zeros((len(centres), count), dtype=np.int64)
        for start, _, blocks, local in row_blocks({"embeddings": rows}, unlabeled, np.float32):
            similarity = centres @ blocks["embeddings"][local].T  # (m, n)
            together = np.hstack([best, similarity])
            names = np.hstack([who, np.broadcast_to(start + np.arange(similarity.shape[1]), similarity.shape)])
            top = np.argsort(-together, axis=1, kind="stable")[:, :count]
            best, who = np.take_along_axis(together, top, axis=1), np.take_along_axis(names, top, axis=1)
        np.maximum.at(nearest, who.ravel(), best.ravel().astype(np.float64))
    order = np.lexsort((unlabeled, -nearest))
    near = order[: int(np.isfinite(nearest).sum())][:limit]
    n_random = max(round(RANDOM_SHARE * len(near)), batch_size - len(near))
    near = near[: max(0, limit - n_random)]
    rest = np.setdiff1d(np.arange(len(unlabeled)), near, assume_unique=True)
    kept = np.sort(np.concatenate([near, rng.permutation(rest)[:n_random]]))
    return np.asarray(unlabeled[kept])
