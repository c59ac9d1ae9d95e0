"""ProbCover: choose the items whose balls of one radius cover most of the pool.

Source: Yehuda, Dekel, Hacohen & Weinshall, "Active Learning Through a Covering Lens", NeurIPS 2022,
Algorithm 1, and section 3.3 for the radius (purity 0.95 over k-means pseudo-labels).
Differs from the paper: the radius is read off as a quantile instead of searched; when all is covered, the items
farthest from those chosen fill the batch; large pools with large balls are covered on a reference sample.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.balls import PAIRS, Balls, bit_balls, edge_balls, within
from poolwise.kernels.blocks import iter_blocks, load_rows
from poolwise.kernels.clustering import kmeans
from poolwise.kernels.coverage import REFERENCE_BYTES, greedy_cover, reference_notes
from poolwise.kernels.distances import UnitRows, sq_distances
from poolwise.kernels.fill import fill_farthest
from poolwise.registry import strategy
from poolwise.types import IndexArray, Picks, Rows

MAX_EDGES, EDGES_PER_ROW = 2**21, 20
"""Up to so many edges, in all or a row, all balls are listed; building the lists takes 28 bytes an edge."""
WHOLE = 16_384
"""Pools up to this size are covered as a whole whatever the balls hold: in bits, that takes 32 MB."""
BITS_BYTES = 2**29
"""Most memory for bits."""
PURITY_ROWS = 2000


@strategy(
    "probcover",
    family="density",
    paper="arXiv:2205.11320",
    cost="all pairs up to 20 edges an item, else one pass against reference items",
    use_when="Very few labels (one to ten per class) and good embeddings.",
    device=("D2 distances",),
)
def probcover(
    embeddings: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    labels: IndexArray | None = None,
    *,
    batch_size: int,
    rng: np.random.Generator,
    radius: float | None = None,
    purity: float = 0.95,
    n_classes: int | None = None,
) -> Picks:
    """Greedily take the item with most uncovered items within the radius.

    Parameters
    ----------
    embeddings : (N, D) features; rows are scaled to unit length
    labeled : (L,) int64 pool indices, sorted; what lies in their balls is covered
    unlabeled : (U,) int64 pool indices, sorted
    labels : (N,) int64; only the number of classes seen so far is used, and only for the radius
    batch_size : B, 1 <= B <= U
    rng : seeds the pseudo-labels and draws samples
    radius : of the balls; default the largest at which a share `purity` of balls holds one pseudo-label only
    purity : in (0, 1]
    n_classes : pseudo-labels; default the number of classes seen, or B if fewer than 2 are seen

    Returns
    -------
    Picks; scores are the shares of the pool that each pick newly covers.

    Notes
    -----
    Time N^2 D up to 20 edges an item (or 2 million in all), and for pools up to 16,384; beyond that N R D with R =
    max(20 B, 5000). Memory 28 bytes an edge, R / 8 bytes an item beyond that.
    """
    if not 0 < purity <= 1 or (radius is not None and radius < 0):
        raise OptionError(f"probcover: purity must be in (0, 1] and radius >= 0; got {purity} and {radius}.")
    items = np.union1d(labeled, unlabeled)
    rows = UnitRows(embeddings)
    if radius is None:
        seen = 0 if labels is None else len(np.unique(labels[labeled]))
        radius = pure_radius(rows, items, n_classes or (seen if seen > 1 else batch_size), purity, rng)
    balls, targets = balls_over(rows, items, radius, batch_size, rng)
    free = np.isin(items, unlabeled, assume_unique=True)
    covered = np.zeros(len(targets), dtype=bool)
    for row in np.flatnonzero(~free).tolist():
        covered[balls.of(row)] = True
    chosen, gains = greedy_cover(balls, covered, free, batch_size)
    edges = int(balls.sizes().sum())
    at = np.searchsorted(unlabeled, items[chosen])
    positions = fill_farthest(rows, unlabeled, at, batch_size, others=labeled)
    gained = np.zeros(batch_size)
    gained[: len(gains)] = gains / len(targets)
    return Picks(
        indices=unlabeled[positions],
        scores=gained,
        components={"coverage_gain": gained, "by_coverage": np.arange(batch_size) < len(gains)},
        notes={
            "coverage": float(covered.mean()),
            "radius": radius,
            "edges": edges,
            **reference_notes(len(targets), len(items), batch_size),
        },
    )


def pure_radius(rows: Rows, items: IndexArray, n_classes: int, purity: float, rng: np.random.Generator) -> float:
    """Largest radius at which a share `purity` of sampled balls holds rows of one pseudo-label only."""
    n_clusters = int(min(n_classes, len(items)))
    clusters = kmeans(rows, items, n_clusters, rng)
    sample = np.sort(rng.choice(len(items), min(len(items), PURITY_ROWS), replace=False))
    x = load_rows(rows, items[sample])
    foe = np.full(len(sample), np.inf)  # squared distance to the nearest row with another pseudo-label
    for start, block in iter_blocks(rows, items, block_rows=max(1, PAIRS // len(x))):
        d2 = sq_distances(x, block)
        d2[clusters.labels[sample][:, None] == clusters.labels[start : start + len(block)]] = np.inf
        np.minimum(foe, d2.min(axis=1), out=foe)
    foe.sort()
    limit = float(np.sqrt(foe[min(len(foe) - 1, int((1 - purity) * len(foe)))]))
    return float(np.nextafter(np.float32(limit), np.float32(0))) if np.isfinite(limit) else 2.0


def balls_over(
    rows: Rows, items: IndexArray, radius: float, batch_size: int, rng: np.random.Generator
) -> tuple[Balls, IndexArray]:
    """Balls of all items over all items, or over reference items where that would be too much; and those items."""
    n = len(items)
    sample = np.sort(rng.choice(n, min(n, 500), replace=False))
    x = load_rows(rows, items[sample])
    blocks = iter_blocks(rows, items, block_rows=max(1, PAIRS // len(x)))
    inside = sum(int(np.count_nonzero(within(block, x, radius))) for _, block in blocks)
    if inside / len(sample) * n <= max(MAX_EDGES, EDGES_PER_ROW * n) and n <= 200_000:
        return edge_balls(rows, items, radius), items
    if n <= WHOLE:
        return bit_balls(rows, items, items, radius), items
    size = min(n, max(20 * batch_size, 5000), REFERENCE_BYTES // (4 * int(rows.shape[1])), 8 * BITS_BYTES // n)
    targets = np.sort(rng.choice(items, size, replace=False))
    return bit_balls(rows, items, targets, radius), targets
