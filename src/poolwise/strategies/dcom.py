"""DCoM: cover the pool with balls that fit what the head gets right, and turn to the margin as coverage grows.

Source: Mishal & Weinshall, "DCoM: Active Learning for All Learners", arXiv:2407.01804, Algorithms 1 and 2; steepness 30
and turning point 0.8 as recalled from the paper, both options.
Differs from the paper: radii follow from the present labels and predictions alone, so no state is kept between rounds:
the purity threshold starts at coverage 0 and is raised once for the coverage that this
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from poolwise.errors import OptionError
from poolwise.kernels.balls import PAIRS, Balls
from poolwise.kernels.blocks import iter_blocks, load_rows
from poolwise.kernels.coverage import cover
from poolwise.kernels.distances import UnitRows, sq_distances
from poolwise.kernels.sampling import stream_scores
from poolwise.kernels.scores import margin
from poolwise.progress import task
from poolwise.registry import strategy
from poolwise.strategies.probcover import balls_over
from poolwise.types import Array, BoolArray, FloatArray, IndexArray, Picks, Rows

RESOLUTION = 0.05
"""Steps in which radii are tried (section 4 of the paper)."""


@strategy(
    "dcom",
    family="hybrid",
    paper="arXiv:2407.01804",
    cost="two passes against the labeled items, then balls as in probcover",
    use_when="The budget starts at a few labels per class and grows; good embeddings.",
)
def dcom(
    embeddings: Rows,
    probs: Rows,
    labels: Array,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    largest_radius: float = 1.1,
    first_radius: float = 0.75,
    steepness: float = 30.0,
    turning_point: float = 0.8,
) -> Picks:
    """Take the item best by w x margin + (1 - w) x newly covered items, with w from the coverage of labeled balls.

    Parameters
    ----------
    embeddings : (N, D) features; rows are scaled to unit length
    probs : (N, C) class probabilities
    labels : (N,) int64, -1 where unlabeled
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : draws reference samples of large pools
    largest_radius : radii are searched up to it, > 0
    first_radius : of the balls while nothing is labeled, > 0
    steepness, turning_point : k and a of the weight w = (1 + e^(-k (1 - a))) / (1 + e^(-k (coverage - a)))

    Returns
    -------
    Picks; scores are the blended values, each part scaled to [0, 1] at its pick.

    Raises
    ------
    OptionError
        If a radius or the steepness is not above 0.

    Notes
    -----
    Time 2 L N D, the balls of probcover, and O(U) a pick. Memory of the balls as in probcover, and L x 23 counts.
    """
    if largest_radius <= 0 or first_radius <= 0 or steepness <= 0:
        raise OptionError(
            f"dcom: radii and steepness must be above 0; got {largest_radius}, {first_radius}, {steepness}."
        )
    rows, items = UnitRows(embeddings), np.union1d(labeled, unlabeled)
    radii, coverage = np.empty(0), 0.0
    covered = np.zeros(len(items), dtype=bool)
    if len(labeled):
        search = _PurityProfiles(rows, probs, items, labeled, np.asarray(labels)[labeled], largest_radius)
        radii = search.largest(0.4)
        coverage = float(_inside(rows, items, labeled, radii).mean())
        radii = search.largest(0.4 + 0.2 * coverage)
        covered = _inside(rows, items, labeled, radii)
        coverage = float(covered.mean())
    log_parts = np.logaddexp(0, -steepness * (np.array([1.0, coverage]) - turning_point))
    weight = np.exp(log_parts[0] - log_parts[1])
    radius = float(radii.mean()) if len(radii) else first_radius
    doubt = np.zeros(len(items))
    free = np.isin(items, unlabeled, assume_unique=True)
    doubt[free] = _scaled(stream_scores(margin, {"probs": probs}, unlabeled)) if len(labeled) else 0.0
    balls, targets = balls_over(rows, items, radius, batch_size, rng)
    done = covered[np.searchsorted(items, targets)]
    chosen, found = _blend(balls, done, free, doubt, float(weight) if len(labeled) else 0.0, batch_size)
    return Picks(
        items[chosen],
        found.sum(axis=0),
        {"uncertainty": found[0], "density": found[1]},
        {"coverage": coverage, "weight": float(weight) if len(labeled) else 0.0, "radius": radius},
    )


class _PurityProfiles:
    """For each labeled item and each radius tried: how many items are inside, and how many are predicted as it is."""

    def __init__(
        self, rows: Rows, probs: Rows, items: IndexArray, labeled: IndexArray, classes: IndexArray, largest: float
    ) -> None:
        self.radii = RESOLUTION * np.arange(1, max(1, round(largest / RESOLUTION)) + 1)
        edges = self.radii**2
        counts = np.zeros((2, len(labeled), len(edges) + 1), dtype=np.int64)
        predicted = stream_scores(lambda probs: probs.argmax(axis=1), {"probs": probs}, items).astype(np.int64)
        centres = load_rows(rows, labeled, np.float64)
        step = max(1, PAIRS // 4 // len(labeled))
        for start, block in iter_blocks(rows, items, block_rows=step, dtype=np.float64):
            ring = np.searchsorted(edges, sq_distances(centres, block), side="left")  # (L, n)
            same = predicted[start : start + len(block)] == classes[:, None]
            flat = ring + (len(edges) + 1) * np.arange(len(labeled))[:, None]
            counts[0] += np.bincount(flat.ravel(), minlength=counts[0].size).reshape(counts[0].shape)
            counts[1] += np.bincount(flat[same], minlength=counts[0].size).reshape(counts[0].shape)
        inside = np.cumsum(counts[:, :, :-1], axis=2)
        self.purity: NDArray[np.float64] = inside[1] / np.maximum(inside[0], 1)

    def largest(self, purity: float) -> NDArray[np.float64]:
        """Largest radius of each labeled item whose ball is that pure; the smallest one tried if none is, (L,)."""
        pure = self.purity >= purity
        last = pure.shape[1] - 1 - pure[:, ::-1].argmax(axis=1)
        return np.asarray(self.radii[np.where(pure.any(axis=1), last, 0)])


def _inside(rows: Rows, items: IndexArray, labeled: IndexArray, radii: FloatArray) -> BoolArray:
    """Which items lie in the ball of a labeled item, (n,)."""
    centres = load_rows(rows, labeled, np.float64)
    out = np.zeros(len(items), dtype=bool)
    for start, block in iter_blocks(rows, items, block_rows=max(1, PAIRS // 4 // len(labeled)), dtype=np.float64):
        out[start : start + len(block)] = (sq_distances(block, centres) <= radii**2).any(axis=1)
    return out


def _blend(
    balls: Balls, covered: BoolArray, free: BoolArray, doubt: FloatArray, weight: float, count: int
) -> tuple[IndexArray, NDArray[np.float64]]:
    """Take the best blend again and again; its ball becomes covered. (count,) positions, and (2, count) parts."""
    degree = balls.sizes() - balls.count(np.flatnonzero(covered))
    chosen, found = np.empty(count, dtype=np.int64), np.empty((2, count))
    free = free.copy()
    with task("covering", count) as work:
        for rank in range(count):
            density = _scaled(np.where(free, degree, 0))
            value = np.where(free, weight * doubt + (1 - weight) * density, -np.inf)
            row = int(value.argmax())
            chosen[rank], found[:, rank] = row, (weight * doubt[row], (1 - weight) * density[row])
            free[row] = False
            degree -= balls.count(cover(balls, row, covered))
            work.advance()
    return chosen, found


def _scaled(values: Array) -> NDArray[np.float64]:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros(len(values))
