"""BAIT: choose the batch after which the last layer's predictions on the whole pool are expected to err least.

Source: Ash, Goel, Krishnamurthy & Kakade, "Gone Fishing: Neural Active Learning with Fisher Embeddings", NeurIPS 2021,
Algorithm 1; binary form: Huseljic, Herde, Hahn & Sick, "Fast Fishing", ECML PKDD 2024.
Differs from the paper: embeddings are divided by the root of their mean squared length, so that the regularisation
means the same on every scale; the default asks "is it the predicted class?", which makes an update O(N D).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from poolwise.errors import OptionError
from poolwise.kernels.blocks import iter_blocks
from poolwise.kernels.fisher import greedy_rank_many, greedy_rank_one
from poolwise.kernels.sampling import row_blocks
from poolwise.registry import strategy
from poolwise.types import FloatArray, IndexArray, Picks, Rows

FLOAT64_VALUES = 2**25
"""Up to so many numbers, rows are held in float64."""

MAX_VALUES, MAX_WIDTH = 2**25, 5000
"""Limits of the exact forms: numbers held, and C D (card of the fast form: C D <= 5,000)."""


@strategy(
    "bait",
    family="hybrid",
    paper="arXiv:2106.09675",
    cost="2 B passes over a float32 copy of the embeddings: 5 processor minutes and 1 GB for B = 1000 at width 256",
    use_when="A good head on frozen features, and time to spare: among the best from a few labels per class on.",
)
def bait(
    embeddings: Rows,
    probs: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    form: Literal["binary", "topk", "full"] = "binary",
    topk: int = 2,
    regularization: float = 1.0,
    oversample: float = 2.0,
) -> Picks:
    """Add items greedily by how much they lower the expected error, twice too many, then take the least useful back.

    Parameters
    ----------
    embeddings : (N, D) features that the head gets
    probs : (N, C) class probabilities
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : not used; the choice has no chance in it
    form : "binary" for any size; "topk" counts the k likeliest classes of an item, "full" all: for small C D
    topk : k of form="topk"
    regularization : lambda > 0, added to the diagonal
    oversample : items added before some are taken back, in batches, at least 1

    Returns
    -------
    Picks; scores are the falls of the expected error when each item was added.

    Raises
    ------
    OptionError
        If an option is out of range, or the problem too large for an exact form.

    Notes
    -----
    Time U D^2 + 4 oversample B U D for "binary"; memory U D numbers. Exact forms: oversample B U r (C D)^2, with r = k
    or C.
    """
    if regularization <= 0 or oversample < 1 or topk < 1:
        raise OptionError(
            f"bait: regularization must be above 0, oversample and topk at least 1; "
            f"got {regularization}, {oversample}, {topk}."
        )
    items = np.union1d(labeled, unlabeled)
    scale = _root_mean_square(embeddings, items)
    n_labeled, rank = len(labeled), {"binary": 1, "topk": topk, "full": int(probs.shape[1])}[form]
    rank = min(rank, int(probs.shape[1]))
    share = batch_size / (n_labeled + batch_size)
    forward = int(min(len(unlabeled), max(batch_size, round(oversample * batch_size))))
    if form == "binary":
        v = _binary_factors(embeddings, probs, unlabeled, scale)
        known = _binary_information(embeddings, probs, labeled, scale)
        needed = known + _gram(v)
        start = regularization * np.eye(len(needed)) + (1 - share) * known / max(n_labeled, 1)
        v *= v.dtype.type(np.sqrt(share))
        chosen, falls = greedy_rank_one(v, start, needed / len(items), batch_size, forward)
    else:
        width = int(probs.shape[1]) * int(embeddings.shape[1])
        if width > MAX_WIDTH or len(items) * rank * width > MAX_VALUES:
            raise OptionError(
                f"bait: form={form!r} needs C D <= {MAX_WIDTH} and N r C D <= {MAX_VALUES}; got C D = {width} and "
                f"{len(items) * rank * width}. Use form='binary'."
            )
        at = np.searchsorted(items, unlabeled)
        factors = _factors(embeddings, probs, items, rank, scale)
        known = _information(factors[np.searchsorted(items, labeled)])
        start = regularization * np.eye(width) + (1 - share) * known / max(n_labeled, 1)
        needed = _information(factors) / len(items)
        chosen, falls = greedy_rank_many(factors[at] * np.sqrt(share), start, needed, batch_size, forward)
    return Picks(unlabeled[chosen], falls, {"fall": falls}, {"added": forward, "taken_back": forward - batch_size})


def _root_mean_square(embeddings: Rows, items: IndexArray) -> float:
    total = 0.0
    for _, x in iter_blocks(embeddings, items, block_rows=4096, dtype=np.float64):
        total += float(np.einsum("ij,ij->", x, x))
    return float(np.sqrt(total / len(items))) if total > 0 else 1.0


def _binary_of(x: FloatArray, p: FloatArray, scale: float) -> FloatArray:
    top = p.max(axis=1)
    return np.asarray(np.sqrt(np.maximum(top * (1 - top), 0))[:, None] * (x / scale))


def _binary_factors(embeddings: Rows, probs: Rows, indices: IndexArray, scale: float) -> FloatArray:
    """sqrt(p (1 - p)) h for each item, (n, D)."""
    small = len(indices) * int(embeddings.shape[1]) <= FLOAT64_VALUES
    out: FloatArray = np.empty((len(indices), int(embeddings.shape[1])), dtype=np.float64 if small else np.float32)
    rows = {"x": embeddings, "p": probs}
    for start, pool, blocks, local in row_blocks(rows, indices, np.float64):
        out[start : start + len(pool)] = _binary_of(blocks["x"][local], blocks["p"][local], scale)
    return out


def _binary_information(embeddings: Rows, probs: Rows, indices: IndexArray, scale: float) -> NDArray[np.float64]:
    return _gram(_binary_factors(embeddings, probs, indices, scale))


def _gram(v: FloatArray) -> NDArray[np.float64]:
    """Sum of v v' over (n, D) rows, in float64 and in fixed blocks."""
    total = np.zeros((v.shape[1], v.shape[1]))
    for start in range(0, len(v), 4096):
        block = v[start : start + 4096].astype(np.float64)
        total += block.T @ block
    return total


def _factors(embeddings: Rows, probs: Rows, indices: IndexArray, rank: int, scale: float) -> NDArray[np.float64]:
    """Columns sqrt(p_c) (e_c - p) (x) h of the `rank` likeliest classes, renormalised: (n, rank, C D)."""
    n_classes, n_features = int(probs.shape[1]), int(embeddings.shape[1])
    out = np.empty((len(indices), rank, n_classes * n_features))
    for start, pool, blocks, local in row_blocks({"x": embeddings, "p": probs}, indices, np.float64):
        x, p = blocks["x"][local] / scale, blocks["p"][local]
        top = np.argsort(-p, axis=1, kind="stable")[:, :rank]
        kept = np.take_along_axis(p, top, axis=1)
        kept = kept / kept.sum(axis=1, keepdims=True)
        law = np.zeros_like(p)
        np.put_along_axis(law, top, kept, axis=1)
        errors = np.sqrt(kept)[:, :, None] * (np.eye(n_classes)[top] - law[:, None, :])  # (n, r, C)
        out[start : start + len(pool)] = (errors[..., None] * x[:, None, None, :]).reshape(len(pool), rank, -1)
    return out


def _information(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = factors.reshape(-1, factors.shape[2])
    return np.asarray(flat.T @ flat)
