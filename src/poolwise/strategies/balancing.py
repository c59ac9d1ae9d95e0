"""Balancing sampler: take items near the mean of a class that has few labels and far from those that have many.

Source: Aggarwal, Popescu & Hudelot, "Active Learning for Imbalanced Datasets", WACV 2020, as in the public code of Emam
et al., arXiv:2111.12880.
Differs from the paper: the code reads the true label of each pick at once, which a real batch cannot; here a pick
counts for the class it was taken for. Classes with many labels are those at the start of the batch.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import ArrayMissingError
from poolwise.kernels.distances import sq_distances
from poolwise.kernels.quotas import water_fill
from poolwise.kernels.sampling import best_first, stream_scores
from poolwise.registry import strategy
from poolwise.strategies.alfa_mix import class_means
from poolwise.types import Array, FloatArray, IndexArray, Picks, Rows


@strategy(
    "balancing",
    family="balance",
    paper="WACV 2020",
    cost="one pass for each class with few labels",
    use_when="An imbalanced pool, embeddings in which classes are compact, and no head to ask.",
)
def balancing(
    embeddings: Rows,
    labels: Array,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
) -> Picks:
    """Fill classes that have fewer labels than the mean up to the mean of the others; draw the rest at random first.

    Parameters
    ----------
    embeddings : (N, D) features
    labels : (N,) int64, -1 where unlabeled; classes are those seen and all numbers below them
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : draws the random part

    Returns
    -------
    Picks, random ones first. Component `aimed_at` is the class an item was taken for, -1 for random ones. Scores are
    minus the ratio of squared distances to the mean of that class and to the farthest mean of a class with many labels.

    Raises
    ------
    ArrayMissingError
        If nothing is labeled.

    Notes
    -----
    Time U D for each class; memory O(U).
    """
    if not len(labeled):
        raise ArrayMissingError("balancing needs labels of some items; got none. Use typiclust for the first batch.")
    classes = np.asarray(labels)[labeled]
    counts = np.bincount(classes)
    if len(counts) > 10 * len(unlabeled) + 10**4:
        raise ArrayMissingError(f"balancing: labels go up to class {len(counts) - 1}; number classes from 0 upwards.")
    many = counts > counts.mean()
    few = np.flatnonzero(~many)
    n_guided = 0
    if many.any():
        n_guided = min(batch_size, int(len(few) * (counts[many].mean() - counts[few].mean())))
    drawn = rng.permutation(unlabeled)[: batch_size - n_guided]
    indices, scores, aims = [drawn], [np.zeros(len(drawn))], [np.full(len(drawn), -1)]
    if n_guided:
        free = np.setdiff1d(unlabeled, drawn, assume_unique=True)
        means = np.zeros((len(counts), embeddings.shape[1]))
        means[counts > 0] = class_means(embeddings, labeled, classes)
        rows = {"embeddings": embeddings}
        far = stream_scores(lambda embeddings: sq_distances(embeddings, means[many]).max(axis=1), rows, free)
        quotas = water_fill(n_guided, np.full(len(few), n_guided), counts[few])
        open_ = np.ones(len(free), dtype=bool)
        for c, quota in zip(few.tolist(), quotas.tolist(), strict=True):
            if not quota:
                continue
            near: FloatArray = np.ones(len(free))
            if counts[c]:
                near = stream_scores(
                    lambda embeddings, m=means[c : c + 1]: sq_distances(embeddings, m)[:, 0], rows, free
                )
            ratio = np.divide(near, far, out=np.ones(len(free)), where=far > 0)
            ratio[~open_] = np.inf
            best = best_first(-ratio, free, quota)
            open_[best] = False
            indices.append(free[best])
            scores.append(-ratio[best])
            aims.append(np.full(quota, c))
    return Picks(
        np.concatenate(indices),
        np.concatenate(scores),
        {"aimed_at": np.concatenate(aims)},
        {"random": len(drawn), "classes_with_few": len(few)},
    )
