"""Greedy coverage: hard balls, and soft kernels over reference rows.

Source: Nemhauser, Wolsey & Fisher, "An analysis of approximations for maximizing submodular set functions",
1978 (greedy); Minoux, "Accelerated greedy algorithms", 1978 (gains only fall, so old ones are upper bounds).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poolwise.kernels.balls import Balls
from poolwise.kernels.blocks import iter_blocks, load_rows
from poolwise.kernels.distances import sq_distances
from poolwise.progress import task
from poolwise.types import Array, BoolArray, FloatArray, IndexArray, Rows

WINDOW, MAX_WINDOW = 32, 256
"""Candidates whose gains are brought up to date together; more after a window without a pick."""

WIDE = 0.05
"""A kernel whose squared width is at least this share of the longest row forgives the rounding of a matrix product."""

KERNEL_BYTES = 2**23
"""Size of one block of kernel values."""

KEPT_BYTES = 2**27
"""All kernel values are kept up to this size."""


def greedy_cover(balls: Balls, covered: BoolArray, free: BoolArray, count: int) -> tuple[IndexArray, IndexArray]:
    """Take the free row that covers most uncovered targets, again and again, while one covers any.

    Parameters
    ----------
    balls : around n rows over m targets
    covered : (m,) bool, changed in place
    free : (n,) bool, rows that may be taken
    count : most rows to take

    Returns
    -------
    (t,) positions in order, t <= count, and (t,) newly covered targets of each; lowest position among equals.

    Notes
    -----
    Each target is counted once, when it becomes covered: time O(E + t n) with lists of E edges, O(n m + t n) with bits.
    """
    degree = balls.sizes() - balls.count(np.flatnonzero(covered))
    degree[~free] = -1
    chosen: list[int] = []
    gains: list[int] = []
    with task("covering", count) as work:
        while len(chosen) < count:
            row = int(degree.argmax())
            if degree[row] <= 0:
                break
            fresh = cover(balls, row, covered)
            chosen.append(row)
            gains.append(len(fresh))
            degree -= balls.count(fresh)
            degree[row] = -1
            work.advance()
    return np.array(chosen, dtype=np.int64), np.array(gains, dtype=np.int64)


def cover(balls: Balls, row: int, covered: BoolArray) -> Array:
    """Cover the targets in the ball of a row, in place; returns those that were not covered before."""
    inside = balls.of(row)
    fresh: Array = inside[~covered[inside]]
    covered[fresh] = True
    return fresh


@dataclass(frozen=True, slots=True)
class SoftCover:
    """Rows chosen by `greedy_soft_cover`.

    positions : (count,) int64 within the candidates, in order
    gains : (count,) float64, what each added to the coverage
    coverage : weighted mean similarity of the reference rows to their nearest chosen or earlier row
    """

    positions: IndexArray
    gains: FloatArray
    coverage: float


def greedy_soft_cover(
    rows: Rows,
    candidates: IndexArray,
    reference: IndexArray,
    weights: FloatArray,
    sigma: float,
    before: IndexArray,
    count: int,
) -> SoftCover:
    """Maximise sum_j w_j max_s k(j, s) over the chosen s, greedily; k(a, b) = exp(-|a - b|^2 / sigma^2).

    Parameters
    ----------
    rows : (N, D)
    candidates : (n,) int64 sorted pool indices that may be chosen
    reference : (R,) int64 pool indices that are to be covered
    weights : (R,) float >= 0
    sigma : > 0
    before : pool indices chosen earlier; may be empty
    count : 1 <= count <= n

    Returns
    -------
    SoftCover; lower position among equal gains. Once nothing adds anything, the lowest positions follow.

    Notes
    -----
    Gains only fall, so old ones bound new ones: only the candidates with the best old gains are looked at again,
    32 to 256 at a time in one matrix product. Time n R D once, then 32 to 256 R D per window, which mostly
    yields one to several picks. Memory R D + n, and n R up to KEPT_BYTES.
    """
    kernel = _Kernel(load_rows(rows, reference), sigma)
    weights = weights.astype(np.float32)
    held = np.zeros(len(reference), dtype=np.float32)  # similarity to the nearest chosen row
    step = max(1, KERNEL_BYTES // (4 * max(len(reference), 1)))
    for start in range(0, len(before), step):
        np.maximum(held, kernel.of(load_rows(rows, before[start : start + step])).max(axis=0), out=held)
    gains = np.empty(len(candidates), dtype=np.float64)
    small = 4 * len(candidates) * len(reference) <= KEPT_BYTES
    kept = np.empty((len(candidates), len(reference)), dtype=np.float32) if small else None
    for start, block in iter_blocks(rows, candidates, block_rows=step):
        similarity = kernel.of(block)
        gains[start : start + len(block)] = _gains(similarity, held, weights)
        if kept is not None:
            kept[start : start + len(block)] = similarity
    positions, won = np.empty(count, dtype=np.int64), np.empty(count)
    done, size = 0, WINDOW
    with task("covering", count) as work:
        while done < count:
            window, rival = _window(gains, size)
            similarity = kernel.of(load_rows(rows, candidates[window])) if kept is None else kept[window]  # (W, R)
            before_window = done
            while done < count:
                fresh = np.where(np.isfinite(gains[window]), _gains(similarity, held, weights), -np.inf)
                best = int(np.lexsort((window, -fresh))[0])
                behind = rival is not None and (-fresh[best], window[best]) > (-gains[rival], rival)
                gains[window] = fresh
                if behind or fresh[best] == -np.inf:
                    break
                positions[done], won[done] = window[best], fresh[best]
                done += 1
                np.maximum(held, similarity[best], out=held)
                gains[window[best]] = -np.inf
                work.advance()
            size = min(2 * size, MAX_WINDOW) if done == before_window else max(WINDOW, size // 2)
    return SoftCover(positions, won, float(held.astype(np.float64) @ weights / max(weights.sum(), 1e-30)))


def _window(gains: FloatArray, size: int) -> tuple[IndexArray, int | None]:
    """Positions with the best old gains, ascending, and the best position outside; None if there is none."""
    size = min(size, len(gains))
    if size == len(gains):
        return np.arange(size), None
    edge = np.partition(gains, -size - 1)[-size - 1]
    top = np.flatnonzero(gains >= edge)
    top = top[np.lexsort((top, -gains[top]))]
    return np.sort(top[:size]), int(top[size])


def _gains(similarity: FloatArray, held: FloatArray, weights: FloatArray) -> FloatArray:
    better = similarity - held
    np.maximum(better, 0, out=better)
    out: FloatArray = (better @ weights).astype(np.float64)
    return out


class _Kernel:
    """exp(-|a - b|^2 / sigma^2) between some rows and the reference rows."""

    def __init__(self, reference: FloatArray, sigma: float) -> None:
        self.reference, self.sigma = reference, sigma
        sq = np.einsum("ij,ij->i", reference, reference)
        self.wide = sigma**2 >= WIDE * float(sq.max(initial=0.0))
        self.across = np.hstack([reference, -0.5 * sq[:, None]]).T.copy() if self.wide else None  # (D + 1, R)

    def of(self, rows: FloatArray) -> FloatArray:
        """Compute (len(rows), R) values; by one matrix product where its rounding cannot matter."""
        if self.across is None:
            out = sq_distances(rows, self.reference)
            out *= np.float32(-1 / self.sigma**2)
        else:
            out = np.hstack([rows, np.ones_like(rows[:, :1])]) @ self.across
            out -= 0.5 * np.einsum("ij,ij->i", rows, rows)[:, None]
            out *= np.float32(2 / self.sigma**2)
            np.minimum(out, 0, out=out)
        np.exp(out, out=out)
        return out


EXACT_REFERENCE = 20_000
"""Pools up to this size are measured whole."""

REFERENCE_BYTES = 2**29
"""Reference rows are kept in memory up to this size."""


def reference_size(n: int, count: int, width: int, wanted: int | None) -> int:
    """How many rows to measure coverage on: all of a small pool, else max(20 count, 5000), or what is wanted.

    Fewer than 5 reference rows a pick make picks chase the sample; below 20 the result names it in its notes.
    """
    if wanted is not None:
        return int(np.clip(wanted, 1, n))
    if n <= EXACT_REFERENCE:
        return n
    return int(min(n, max(20 * count, 5000), REFERENCE_BYTES // (4 * width)))


def reference_notes(size: int, n: int, count: int) -> dict[str, int | str]:
    """Facts about the reference rows for the notes of a batch."""
    notes: dict[str, int | str] = {"reference": size}
    if size < min(n, 20 * count):
        notes["warning"] = (
            f"coverage was measured on {size} items; {min(n, 20 * count)} (20 per pick) or more are advised"
        )
    return notes
