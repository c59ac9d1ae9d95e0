"""Partitioned BADGE: D2 sampling of pooled gradients inside random parts of the pool, away from labeled items.

Source: Emam et al., "Active Learning at the ImageNet Scale", arXiv:2111.12880, and its public code: gradients of C x D
numbers are averaged down to min(16, C) x floor(512 / min(16, C)).
Differs from the paper: the parts cover the whole pool; gradients do not depend on mini-batches; the pooled gradient is
the outer product of the pooled factors, so the C x D numbers never exist.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from poolwise.errors import OptionError
from poolwise.kernels.blocks import Key, read_rows
from poolwise.kernels.d2 import d2_sample
from poolwise.kernels.partition import partition
from poolwise.kernels.vectors import PlainVectors, measure_all
from poolwise.registry import strategy
from poolwise.types import Array, IndexArray, Picks, Rows

WIDTH, MOST_CLASSES = 512, 16


@strategy(
    "badge_partitioned",
    family="hybrid",
    paper="arXiv:2111.12880",
    cost="as kmeans seeding on rows of 512 numbers, part by part",
    use_when="To repeat published ImageNet numbers; badge itself is exact and as fast here.",
    device=("D2 distances",),
)
def badge_partitioned(
    embeddings: Rows,
    probs: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    parts: int = 10,
) -> Picks:
    """Cut the pool into random parts, and in each draw by squared distance to what is labeled or drawn.

    Parameters
    ----------
    embeddings : (N, D) features
    probs : (N, C) class probabilities
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted; both are cut into parts
    batch_size : B, 1 <= B <= U
    rng : makes the parts, and draws
    parts : P >= 1

    Returns
    -------
    Picks, part by part; scores are the squared distances when drawn.

    Raises
    ------
    OptionError
        If parts is below 1.

    Notes
    -----
    Time U (C + D + 512) and one to three passes; memory O(U) and one block.
    """
    if parts < 1:
        raise OptionError(f"badge_partitioned: parts must be at least 1; got {parts}.")
    rows = PooledGradients(probs, embeddings)
    indices, scores, part_of = [], [], []
    for number, (known, free, share) in enumerate(partition(labeled, unlabeled, batch_size, parts, rng)):
        vectors = PlainVectors(rows, free)
        given = None
        if len(known):
            centres = PlainVectors(rows, known, origin=vectors.origin)
            measure_all(centres)
            given = centres.take(np.arange(len(known)))
        draw = d2_sample([vectors], share, rng, given=given)
        indices.append(free[draw.positions])
        scores.append(draw.sq_distances)
        part_of.append(np.full(share, number))
    part = np.concatenate(part_of)
    return Picks(np.concatenate(indices), np.concatenate(scores), {"part": part}, {"parts": len(indices)})


class PooledGradients:
    """Averaged last-layer gradients (probs - onehot(predicted)) (x) embeddings, computed when they are read.

    Parameters
    ----------
    probs : (N, C)
    embeddings : (N, D)
    """

    def __init__(self, probs: Rows, embeddings: Rows) -> None:
        self.probs, self.embeddings = probs, embeddings
        n_classes = min(MOST_CLASSES, int(probs.shape[1]))
        self.over_classes = pooling(int(probs.shape[1]), n_classes)
        self.over_features = pooling(int(embeddings.shape[1]), WIDTH // n_classes)
        self.shape = (len(probs), n_classes * (WIDTH // n_classes))
        self.dtype = np.dtype(np.float64)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Key) -> Array:
        return self.read(key, self.dtype)

    def read(self, key: Key, dtype: DTypeLike) -> Array:
        """Compute some rows in float64 and return them as `dtype`."""
        error = read_rows(self.probs, key, np.float64).copy()
        error[np.arange(len(error)), error.argmax(axis=1)] -= 1
        features = read_rows(self.embeddings, key, np.float64)
        pooled = (error @ self.over_classes)[:, :, None] * (features @ self.over_features)[:, None, :]
        return np.asarray(pooled.reshape(len(error), -1).astype(dtype, copy=False))


def pooling(width: int, n_out: int) -> NDArray[np.float64]:
    """Matrix (width, n_out) of adaptive average pooling: output u averages floor(u m / n) to ceil((u + 1) m / n)."""
    out = np.zeros((width, n_out))
    for u in range(n_out):
        start, stop = u * width // n_out, -(-(u + 1) * width // n_out)
        out[start:stop, u] = 1 / (stop - start)
    return out
