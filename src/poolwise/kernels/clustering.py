"""k-means by blocked matrix products, and the member nearest to each centre.

Source: Lloyd, "Least squares quantization in PCM", 1982; seeding of Arthur & Vassilvitskii, SODA 2007.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from poolwise.kernels.blocks import load_rows
from poolwise.kernels.d2 import d2_sample
from poolwise.kernels.distances import CANCELLED
from poolwise.kernels.points import Points
from poolwise.kernels.vectors import PlainVectors, measure_all
from poolwise.progress import task
from poolwise.types import BoolArray, FloatArray, IndexArray, Rows

TRAIN_BYTES = 2**28
"""A training sample up to this size is copied into memory; a larger one is streamed in every iteration."""

ITERATIONS = 20

TIE = 3e-5
"""Share of a row's length below which a difference of float32 distances means nothing."""

MIN_TRAINED = 20_000
"""Samples are never made smaller than this: it would save nothing."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """A division of n rows into K clusters; none of the K is empty unless there are fewer distinct rows.

    labels : (n,) int64, cluster of each row
    sq_distances : (n,) float32, squared distance of each row to its centre
    sq_lengths : (n,) float32, squared length of each row, moved by the common offset
    centres : (K, D) float32
    sizes : (K,) int64
    iterations : Lloyd iterations done
    trained_on : rows used to find the centres
    """

    labels: IndexArray
    sq_distances: FloatArray
    sq_lengths: FloatArray
    centres: FloatArray
    sizes: IndexArray
    iterations: int
    trained_on: int


def kmeans(
    rows: Rows,
    indices: IndexArray,
    n_clusters: int,
    rng: np.random.Generator,
    *,
    iterations: int = ITERATIONS,
    rows_per_cluster: int | None = None,
) -> Clusters:
    """Divide rows into clusters that minimise the squared distances to their means.

    Parameters
    ----------
    rows : (N, D)
    indices : (n,) int64 sorted pool indices, the rows to divide
    n_clusters : K, 1 <= K <= n
    rng : seeds the centres, and picks the training sample
    iterations : most Lloyd iterations; stops sooner when nothing moves
    rows_per_cluster : train on a random sample of K times so many rows, then assign all;
        default 256 up to 1000 clusters and 39 beyond,
        but never fewer than 20,000 in all

    Returns
    -------
    Clusters, in the order of `indices`.

    Notes
    -----
    Time O(iterations x training rows x K x D) + O(n K D); memory O(n + K D) and one block, plus the training
    sample while it is below 256 MB. A cluster that loses all its rows restarts at the row farthest from its centre.
    """
    per_cluster = rows_per_cluster or max(256 if n_clusters <= 1000 else 39, MIN_TRAINED // n_clusters)
    everything = PlainVectors(rows, indices)
    training, whole = everything, True
    if n_clusters * per_cluster < len(indices):
        chosen = np.sort(rng.choice(len(indices), n_clusters * per_cluster, replace=False))
        training, whole = PlainVectors(rows, indices[chosen], origin=everything.origin), False
    if 4 * len(training) * training.width <= TRAIN_BYTES and (not whole or not _is_plain(rows, indices)):
        block = load_rows(rows, training.indices)
        training = PlainVectors(block, np.arange(len(block)), origin=everything.origin)
    seeds = d2_sample([training], n_clusters, rng).positions
    centres: FloatArray = training.take(seeds).h.astype(np.float64)
    state = _Assignment(training, n_clusters)
    done = 0
    with task("k-means", iterations) as work:
        while done < iterations:
            done += 1
            if not state.assign(centres.astype(np.float32)):
                break
            centres = state.means(centres)
            work.advance()
    final = state
    if not whole or len(training) != len(indices):
        measure_all(everything)
        final = _Assignment(everything, n_clusters)
    final.assign(centres.astype(np.float32), exact=True)
    offset = 0 if everything.origin is None else everything.origin
    return Clusters(
        labels=final.labels,
        sq_distances=final.gap,
        sq_lengths=final.vectors.sq,
        centres=(centres + offset).astype(np.float32),
        sizes=np.bincount(final.labels, minlength=n_clusters),
        iterations=done,
        trained_on=len(training),
    )


def _is_plain(rows: Rows, indices: IndexArray) -> bool:
    """Say whether blocks of the rows cost nothing to read."""
    return isinstance(rows, np.ndarray) and rows.dtype == np.float32 and len(indices) == len(rows)


class _Assignment:
    """Nearest centre of every row, and the sums of the rows of each centre."""

    def __init__(self, vectors: PlainVectors, n_clusters: int) -> None:
        self.vectors = vectors
        self.labels = np.full(len(vectors), -1, dtype=np.int64)
        self.gap = np.zeros(len(vectors), dtype=np.float32)
        self.sums = np.zeros((n_clusters, vectors.width), dtype=np.float64)
        self.counts = np.zeros(n_clusters, dtype=np.int64)

    def assign(self, centres: FloatArray, *, exact: bool = False) -> bool:
        """Assign all rows; lowest centre among equals. False if no row moved."""
        half = 0.5 * np.einsum("ij,ij->i", centres, centres)
        across = np.ascontiguousarray(centres.T)  # (D, K)
        moved = False
        for start, points in self.vectors.blocks(len(centres)):
            part = slice(start, start + len(points))
            score = points.h @ across  # (n, K)
            np.subtract(half, score, out=score)
            labels = score.argmin(axis=1)
            gap = points.sq + 2 * score[np.arange(len(labels)), labels]
            if exact:
                _repair(gap, points, centres, labels)
            self.gap[part] = np.maximum(gap, 0)
            moved |= self._move(part, points.h, labels)
        return moved

    def _move(self, part: slice, x: FloatArray, labels: IndexArray) -> bool:
        """Take the rows whose label changed out of their old sums and into the new ones."""
        old = self.labels[part]
        changed = np.flatnonzero(old != labels)
        if not len(changed):
            return False
        x = x[changed] if len(changed) < len(x) else x
        self.sums += _sum_by(x, labels[changed], len(self.sums))
        self.counts += np.bincount(labels[changed], minlength=len(self.counts))
        left = old[changed]
        if left[0] >= 0:
            self.sums -= _sum_by(x, left, len(self.sums))
            self.counts -= np.bincount(left, minlength=len(self.counts))
        self.labels[part] = labels
        return True

    def means(self, centres: FloatArray) -> FloatArray:
        """Mean of each cluster; empty ones restart at the rows farthest from their centres."""
        new = self.sums / np.maximum(self.counts, 1)[:, None]
        empty = np.flatnonzero(self.counts == 0)
        if len(empty):
            far = np.lexsort((np.arange(len(self.gap)), -self.gap))[: len(empty)]
            new[empty] = self.vectors.take(far).h
        return new


def _sum_by(x: FloatArray, labels: IndexArray, n_clusters: int) -> FloatArray:
    """Sum the rows of each label: (K, D)."""
    member = sparse.csc_matrix(
        (np.ones(len(x), dtype=np.float32), labels, np.arange(len(x) + 1)), shape=(n_clusters, len(x))
    )
    sums: FloatArray = member @ x
    return sums


def _repair(gap: FloatArray, points: Points, centres: FloatArray, labels: IndexArray) -> None:
    """Compute distances that lost their digits again, directly."""
    low = np.flatnonzero(gap < CANCELLED * points.sq)
    for start in range(0, len(low), 1024):
        i = low[start : start + 1024]
        step = points.h[i].astype(np.float64) - centres[labels[i]]
        gap[i] = np.einsum("ij,ij->i", step, step)


def nearest_members(clusters: Clusters, allowed: BoolArray | None = None) -> IndexArray:
    """Position of the row nearest to each centre; -1 for a cluster without allowed rows.

    Distances that differ by less than 3e-5 of the longest row of the cluster are equal (the two rows of a
    cluster of two always are, but for rounding); the lowest position wins.

    Parameters
    ----------
    clusters : of n rows into K
    allowed : (n,) bool, which rows may be named; default all

    Returns
    -------
    (K,) int64.
    """
    positions = np.arange(len(clusters.labels)) if allowed is None else np.flatnonzero(allowed)
    labels = clusters.labels[positions]
    distance = np.sqrt(clusters.sq_distances[positions].astype(np.float64))
    closest, longest = np.full((2, len(clusters.centres)), np.inf) * [[1], [-1]]
    np.minimum.at(closest, labels, distance)
    np.maximum.at(longest, labels, np.sqrt(clusters.sq_lengths[positions]))
    near = np.flatnonzero(distance <= closest[labels] + TIE * longest[labels])
    nearest = np.full(len(clusters.centres), -1, dtype=np.int64)
    nearest[labels[near][::-1]] = positions[near][::-1]  # the last written, hence the lowest, stays
    return nearest
