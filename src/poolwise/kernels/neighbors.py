"""Nearest neighbours and radius graphs by blocked matrix products; no N x N array is ever held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from poolwise.errors import InputError
from poolwise.kernels.blocks import iter_blocks, load_rows
from poolwise.kernels.clustering import kmeans
from poolwise.kernels.distances import CANCELLED, sq_distances
from poolwise.kernels.vectors import common_offset
from poolwise.progress import task
from poolwise.types import Array, FloatArray, IndexArray, Rows

QUERY_ROWS = 2048
"""Rows compared with as many others in one matrix product."""

EXACT_ROWS = 200_000
"""Above so many rows `knn` searches approximately unless told otherwise."""

MIN_RECALL = 0.9
"""An approximate search that finds fewer of the true neighbours is refused."""

ROUNDING = 1e-6
"""Bound on the rounding of a float32 squared distance, as a share of the squared lengths."""

SKETCH = 128
"""Leading directions in which an approximate search compares rows first."""


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The nearest rows of each of n rows, itself excluded.

    positions : (n, k) int32, nearest first, lowest position first among equals
    sq_distances : (n, k) float32
    recall : share of the true neighbours found, measured on a sample; 1.0 for an exact search
    """

    positions: Array
    sq_distances: FloatArray
    recall: float


def knn(
    rows: Rows,
    indices: IndexArray,
    n_neighbors: int,
    rng: np.random.Generator,
    *,
    method: Literal["auto", "exact", "cells"] = "auto",
    target_recall: float = 0.95,
) -> Neighbors:
    """Find the nearest rows of every row.

    Parameters
    ----------
    rows : (N, D)
    indices : (n,) int64 sorted pool indices
    n_neighbors : k, 1 <= k < n
    rng : used by "cells" only
    method : "exact" compares all pairs; "cells" compares each row with the nearest cells of a k-means
        division, in the leading 128 directions first; "auto" is exact up to 200,000 rows
    target_recall : "cells" looks at as many cells as the sample needs to reach this recall

    Returns
    -------
    Neighbors, positions within `indices`.

    Raises
    ------
    InputError
        If k is not between 1 and n - 1, or an approximate search finds fewer than 90 % of the neighbours.

    Notes
    -----
    Time n^2 D for exact (each pair once). Memory one float32 copy of the rows, n k, and one block.
    """
    n = len(indices)
    if not 1 <= n_neighbors < n:
        raise InputError(f"n_neighbors must be between 1 and {n - 1} (other rows); got {n_neighbors}.")
    if method == "exact" or (method == "auto" and n <= EXACT_ROWS):
        return _exact(_centred(rows, indices), n_neighbors)
    return _by_cells(rows, indices, n_neighbors, rng, target_recall)


def _centred(rows: Rows, indices: IndexArray) -> FloatArray:
    x = load_rows(rows, indices)
    origin = common_offset(rows, indices)
    return x if origin is None else x - origin


def _halves(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Two factors whose product is -|x_i - x_j|^2 / 2."""
    half = -0.5 * np.einsum("ij,ij->i", x, x)[:, None]
    one = np.ones_like(half)
    return np.hstack([x, half, one]), np.hstack([x, one, half])


def _block_pairs(x: FloatArray, step: int) -> Iterator[tuple[int, int, FloatArray]]:
    """Stream -|x_i - x_j|^2 / 2 for blocks on and above the diagonal; the blocks on it come first."""
    left, right = _halves(x)
    starts = range(0, len(x), step)
    out = np.empty((step, step), dtype=x.dtype)
    with task("comparing rows", len(starts) * (len(starts) + 1) // 2) as work:
        for apart in range(len(starts)):
            for i in starts[: len(starts) - apart]:
                j = i + apart * step
                a, b = left[i : i + step], right[j : j + step]
                yield i, j, np.matmul(a, b.T, out=out[: len(a), : len(b)])
                work.advance()


def _exact(x: FloatArray, k: int) -> Neighbors:
    n = len(x)
    best = np.full((n, k), -np.inf, dtype=np.float32)
    who = np.full((n, k), -1, dtype=np.int32)
    for i, j, score in _block_pairs(x, QUERY_ROWS):
        if i == j:
            np.fill_diagonal(score, -np.inf)
        _offer(best, who, i, j, score)
        if i != j:
            _offer(best, who, j, i, score.T)
    return Neighbors(*_settle(x, best, who), 1.0)


def _offer(best: FloatArray, who: Array, i: int, j: int, score: FloatArray) -> None:
    """Let columns j... compete for places among the best of rows i...; only the few above the worst place do."""
    k = best.shape[1]
    mine, names = best[i : i + len(score)], who[i : i + len(score)]
    if mine[0, 0] == -np.inf and score.shape[1] > k:
        columns = np.argpartition(score, -k, axis=1)[:, -k:]
        mine[:] = np.take_along_axis(score, columns, axis=1)
        names[:] = columns + j
        return
    if score.flags.c_contiguous:
        flat = np.flatnonzero(score > mine.min(axis=1)[:, None])
        row, column = np.divmod(flat, score.shape[1])
    else:  # a transposed block: look through it in memory order, then sort the few that matter
        flat = np.flatnonzero(mine.min(axis=1) < score.T)
        column, row = np.divmod(flat, len(score))
        order = np.argsort(row, kind="stable")
        row, column = row[order], column[order]
    if not len(row):
        return
    counts = np.bincount(row, minlength=len(score))
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    rivals = np.full((len(score), counts.max()), -np.inf, dtype=np.float32)
    rival_names = np.zeros(rivals.shape, dtype=np.int32)
    rivals[row, place] = score[row, column]
    rival_names[row, place] = column + j
    busy = np.flatnonzero(counts)
    all_scores = np.hstack([mine[busy], rivals[busy]])
    all_names = np.hstack([names[busy], rival_names[busy]])
    top = np.argpartition(all_scores, -k, axis=1)[:, -k:]
    mine[busy] = np.take_along_axis(all_scores, top, axis=1)
    names[busy] = np.take_along_axis(all_names, top, axis=1)


def _settle(x: FloatArray, best: FloatArray, who: Array) -> tuple[Array, FloatArray]:
    """Turn scores into squared distances, compute cancelled ones directly, and order each row."""
    d2 = np.maximum(-2 * best, 0)
    sq = np.einsum("ij,ij->i", x, x)
    row, place = np.nonzero(d2 < CANCELLED * (sq[:, None] + sq[who]))
    step = max(1, 2**20 // x.shape[1])
    for start in range(0, len(row), step):
        r, p = row[start : start + step], place[start : start + step]
        difference = x[r].astype(np.float64) - x[who[r, p]]
        d2[r, p] = np.einsum("ij,ij->i", difference, difference)
    order = np.lexsort((who, d2), axis=1)
    return np.take_along_axis(who, order, axis=1), np.take_along_axis(d2, order, axis=1)


def _by_cells(rows: Rows, indices: IndexArray, k: int, rng: np.random.Generator, target_recall: float) -> Neighbors:
    """Search only in the cells near a row's own, as many as a sample of rows needs."""
    n = len(indices)
    sketch = _sketch(rows, indices, rng)  # (n, at most SKETCH)
    n_cells = max(1, round(np.sqrt(n)))
    cells = kmeans(sketch, np.arange(n), n_cells, rng, rows_per_cluster=64, iterations=10)
    nearby = np.argsort(sq_distances(cells.centres, cells.centres), axis=1, kind="stable")  # (cells, cells)
    probe = np.sort(rng.choice(n, min(n, PROBED), replace=False))
    true = _neighbors_of(rows, indices, probe, k)  # (probed, k)
    rank = np.empty_like(nearby)
    np.put_along_axis(rank, nearby, np.arange(n_cells)[None, :], axis=1)
    needed = np.sort(rank[cells.labels[probe][:, None], cells.labels[true]].ravel())
    share = 0.5 * (1 + target_recall)  # half of what may be missed is left to the sketch
    n_probe = int(needed[min(len(needed) - 1, int(np.ceil(share * len(needed))))]) + 1
    members = [np.flatnonzero(cells.labels == cell) for cell in range(n_cells)]
    who, d2 = np.empty((n, k), dtype=np.int32), np.empty((n, k), dtype=np.float32)
    with task("searching cells", n_cells) as work:
        for cell, mine in enumerate(members):
            if len(mine):
                near = _enough_cells(members, nearby[cell], n_probe, k)
                who[mine], d2[mine] = _search(rows, indices, sketch, mine, near, k)
            work.advance()
    recall = float(np.mean([np.isin(a, b).mean() for a, b in zip(true, who[probe], strict=True)]))
    if recall < MIN_RECALL:
        raise InputError(
            f"approximate neighbours: found {recall:.0%} of the true ones, expected at least {MIN_RECALL:.0%}. "
            "Use method='exact', or raise target_recall."
        )
    return Neighbors(who, d2, recall)


PROBED = 1000
"""Rows whose true neighbours are found to measure recall."""

RERANKED = 3
"""Candidates per neighbour that are compared in full width."""


def _enough_cells(members: list[IndexArray], order: IndexArray, n_probe: int, k: int) -> IndexArray:
    """Rows of the nearest cells, sorted: at least `n_probe` cells and more than k rows."""
    sizes = np.cumsum([len(members[cell]) for cell in order])
    count = max(n_probe, int(np.searchsorted(sizes, k + 1)) + 1)
    return np.sort(np.concatenate([members[cell] for cell in order[:count]]))


def _search(
    rows: Rows, indices: IndexArray, sketch: FloatArray, mine: IndexArray, near: IndexArray, k: int
) -> tuple[Array, FloatArray]:
    """Compare rows `mine` with rows `near`: in the sketch first, then the best few in full width."""
    full = load_rows(rows, indices[near])
    candidates = sketch[near]
    own = np.searchsorted(near, mine)
    count = min(RERANKED * k, len(near) - 1)
    who, d2 = np.empty((len(mine), k), dtype=np.int32), np.empty((len(mine), k), dtype=np.float32)
    step = max(1, min(QUERY_ROWS, 2**26 // (count * full.shape[1])))
    for start in range(0, len(mine), step):
        at = own[start : start + step]
        rough = sq_distances(sketch[mine[start : start + step]], candidates)
        rough[np.arange(len(at)), at] = np.inf
        best = np.argpartition(rough, count - 1, axis=1)[:, :count]
        best.sort(axis=1)
        difference = full[best] - full[at][:, None, :]  # (n, count, D)
        exact = np.einsum("ijk,ijk->ij", difference, difference)
        order = np.argsort(exact, axis=1, kind="stable")[:, :k]
        who[start : start + step] = near[np.take_along_axis(best, order, axis=1)]
        d2[start : start + step] = np.take_along_axis(exact, order, axis=1)
    return who, d2


def _neighbors_of(rows: Rows, indices: IndexArray, queries: IndexArray, k: int) -> IndexArray:
    """True neighbours of a few rows, (len(queries), k), by one pass over all."""
    x = load_rows(rows, indices[queries])
    best = np.full((len(queries), k), np.inf)
    who = np.full((len(queries), k), -1)
    for start, block in iter_blocks(rows, indices):
        d2 = sq_distances(x, block)
        here = (queries >= start) & (queries < start + len(block))
        d2[here, queries[here] - start] = np.inf
        d2 = np.hstack([best, d2])
        names = np.hstack([who, np.broadcast_to(np.arange(start, start + len(block)), (len(x), len(block)))])
        top = np.argpartition(d2, k - 1, axis=1)[:, :k]
        best, who = np.take_along_axis(d2, top, axis=1), np.take_along_axis(names, top, axis=1)
    return who


def _sketch(rows: Rows, indices: IndexArray, rng: np.random.Generator) -> FloatArray:
    """Coordinates in the leading directions of a sample, (n, at most SKETCH) float32."""
    sample = load_rows(rows, np.sort(rng.choice(indices, min(len(indices), 4096), replace=False)), np.float64)
    mean = sample.mean(axis=0)
    _, vectors = np.linalg.eigh((sample - mean).T @ (sample - mean))
    axes = np.ascontiguousarray(vectors[:, ::-1][:, :SKETCH], dtype=np.float32)
    out = np.empty((len(indices), axes.shape[1]), dtype=np.float32)
    for start, block in iter_blocks(rows, indices):
        out[start : start + len(block)] = (block - mean.astype(np.float32)) @ axes
    return out


def radius_graph(
    rows: Rows, indices: IndexArray, radius: float, *, max_edges: int = 2 * 10**9
) -> tuple[IndexArray, Array]:
    """List for every row the rows within a radius of it, itself included.

    Parameters
    ----------
    rows : (N, D)
    indices : (n,) int64 sorted pool indices
    radius : largest distance of an edge, >= 0
    max_edges : refuse to build more

    Returns
    -------
    starts : (n + 1,) int64
    positions : (E,) int32; those of row i are positions[starts[i] : starts[i + 1]], ascending

    Raises
    ------
    InputError
        If there would be more than `max_edges` edges.

    Notes
    -----
    Time n^2 D, each pair once; memory one float32 copy of the rows, 16 bytes an edge while building. A distance
    within rounding of the radius is computed again in float64.
    """
    x = _centred(rows, indices)
    sq = np.einsum("ij,ij->i", x, x)
    limit = -0.5 * radius * radius
    sources, targets, total = [], [], 0
    for i, j, score in _block_pairs(x, QUERY_ROWS):
        slack = ROUNDING * (sq[i : i + QUERY_ROWS].max() + sq[j : j + QUERY_ROWS].max())
        a, b = np.divmod(np.flatnonzero(score >= limit - slack), score.shape[1])
        doubtful = np.flatnonzero(score[a, b] <= limit + slack)
        keep = np.ones(len(a), dtype=bool)
        step = max(1, 2**20 // x.shape[1])
        for start in range(0, len(doubtful), step):
            at = doubtful[start : start + step]
            difference = x[a[at] + i].astype(np.float64) - x[b[at] + j]
            keep[at] = np.einsum("ij,ij->i", difference, difference) <= radius * radius
        a, b = (a[keep] + i).astype(np.int32), (b[keep] + j).astype(np.int32)
        sources += [a] if i == j else [a, b]
        targets += [b] if i == j else [b, a]
        total += len(a) if i == j else 2 * len(a)
        if total > max_edges:
            raise InputError(
                f"the graph of radius {radius:g} has more than {max_edges} edges; expected fewer. "
                "Choose a smaller radius."
            )
    source, target = np.concatenate(sources), np.concatenate(targets)
    order = np.lexsort((target, source))
    counts = np.bincount(source, minlength=len(x))
    return np.concatenate([[0], np.cumsum(counts)]), target[order]


def mean_neighbor_distance_within(
    rows: Rows, indices: IndexArray, groups: IndexArray, n_neighbors: int, *, power: int = 1
) -> FloatArray:
    """Mean distance of each row to its nearest neighbours among the rows of its own group, itself excluded.

    Parameters
    ----------
    rows : (N, D)
    indices : (n,) int64 sorted pool indices
    groups : (n,) int64, group of each
    n_neighbors : neighbours to average over; at most half the size of the group, at least 1
    power : 1 for distances, 2 for squared distances

    Returns
    -------
    (n,) float64; inf for the only row of a group.

    Notes
    -----
    Time O(sum of squared group sizes x D); memory one group and one block of its distances.
    """
    out = np.full(len(indices), np.inf)
    order = np.argsort(groups, kind="stable")
    bounds = np.flatnonzero(np.diff(groups[order], prepend=-1, append=-1))
    for start, stop in pairwise(bounds.tolist()):
        members = order[start:stop]
        if len(members) < 2:
            continue
        x = load_rows(rows, indices[members])
        count = max(1, min(n_neighbors, len(members) // 2))
        for at in range(0, len(members), QUERY_ROWS):
            d2 = sq_distances(x[at : at + QUERY_ROWS], x)  # (n, members)
            d2[np.arange(len(d2)), at + np.arange(len(d2))] = np.inf
            near = np.partition(d2, count - 1, axis=1)[:, :count].astype(np.float64)
            out[members[at : at + QUERY_ROWS]] = (near if power == 2 else np.sqrt(near)).mean(axis=1)
    return out
