"""ProbCover: choose the items whose balls of one radius cover most of the pool.

Source: Yehuda, Dekel, Hacohen & Weinshall, "Active Learning Through a Covering Lens", NeurIPS 2022,
Algorithm 1, and section 3.3 for the radius (purity 0.95 over k-means pseudo-labels).
Differs from the paper: the radius is read off as a quantile instead of searched; when all is covered, the items
farthest from those chosen fill the batch; pools with more than 50 million edges are covered on a reference sample.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.blocks import iter_blocks, load_rows
from poolwise.kernels.clustering import kmeans
from poolwise.kernels.coverage import Graph, greedy_cover, reference_notes, reference_size
from poolwise.kernels.distances import UnitRows, sq_distances
from poolwise.kernels.fill import fill_farthest
from poolwise.kernels.neighbors import radius_graph
from poolwise.registry import strategy
from poolwise.types import FloatArray, IndexArray, Picks, Rows

MAX_EDGES = 5 * 10**7
PURITY_ROWS = 2000


@strategy(
    "probcover",
    family="density",
    paper="arXiv:2205.11320",
    cost="all pairs up to 50 million edges, else one pass against reference items",
    use_when="Very few labels (one to ten per class) and good embeddings.",
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
    Time N^2 D up to the edge limit, N R D beyond it with R = max(20 B, 5000); memory 16 bytes an edge.
    """
    if not 0 < purity <= 1 or (radius is not None and radius < 0):
        raise OptionError(f"probcover: purity must be in (0, 1] and radius >= 0; got {purity} and {radius}.")
    items = np.union1d(labeled, unlabeled)
    rows = UnitRows(embeddings)
    if radius is None:
        seen = 0 if labels is None else len(np.unique(labels[labeled]))
        radius = pure_radius(rows, items, n_classes or (seen if seen > 1 else batch_size), purity, rng)
    graph, targets = ball_graph(rows, items, radius, batch_size, rng)
    free = np.isin(items, unlabeled, assume_unique=True)
    covered = np.zeros(len(targets), dtype=bool)
    covered[graph.of_all(np.flatnonzero(~free))] = True
    chosen, gains = greedy_cover(graph, covered, free, batch_size)
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
            "edges": len(graph.targets),
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
    for start, block in iter_blocks(rows, items):
        d2 = sq_distances(x, block)
        d2[clusters.labels[sample][:, None] == clusters.labels[start : start + len(block)]] = np.inf
        np.minimum(foe, d2.min(axis=1), out=foe)
    foe.sort()
    limit = float(np.sqrt(foe[min(len(foe) - 1, int((1 - purity) * len(foe)))]))
    return float(np.nextafter(np.float32(limit), np.float32(0))) if np.isfinite(limit) else 2.0


def ball_graph(
    rows: Rows, items: IndexArray, radius: float, batch_size: int, rng: np.random.Generator
) -> tuple[Graph, IndexArray]:
    """Balls of all items over all items, or over reference items when that has too many edges."""
    sample = np.sort(rng.choice(len(items), min(len(items), 500), replace=False))
    x = load_rows(rows, items[sample])
    inside = sum(int((sq_distances(x, block) <= radius**2).sum()) for _, block in iter_blocks(rows, items))
    if inside / len(sample) * len(items) <= MAX_EDGES and len(items) <= 200_000:
        return Graph(*radius_graph(rows, items, radius)), items
    size = reference_size(len(items), batch_size, int(rows.shape[1]), None)
    size = int(min(size, max(5000, MAX_EDGES * len(sample) / max(inside, 1))))
    targets = np.sort(rng.choice(items, min(size, len(items)), replace=False))
    return _bipartite(rows, items, load_rows(rows, targets), radius), targets


def _bipartite(rows: Rows, items: IndexArray, centres: FloatArray, radius: float) -> Graph:
    counts, parts = [], []
    for _, block in iter_blocks(rows, items, block_rows=max(1, 2**24 // len(centres))):
        inside = sq_distances(block, centres) <= radius**2
        counts.append(inside.sum(axis=1))
        parts.append(np.nonzero(inside)[1].astype(np.int32))
    return Graph(np.concatenate([[0], np.cumsum(np.concatenate(counts))]), np.concatenate(parts))
