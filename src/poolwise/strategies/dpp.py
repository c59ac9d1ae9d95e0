"""Multi-criteria DPP: uncertain, typical and different items at once, as a determinantal point process of fixed size.

Source: Zhan, Li & Chan, "Multiple-criteria Based Active Learning with Fixed-size Determinantal Point Processes",
arXiv:2107.01622 (the three criteria, the fixed-size process, the hardest item); Kulesza & Taskar 2012 and Chen, Zhang
& Zhou 2018 for the process itself.
Differs from the paper: only its abstract was at hand, so the form of the criteria is ours: L = diag(q) K diag(q) with
q = informativeness^alpha representativeness^beta and K a Gaussian or linear kernel. One model gives the
probabilities, in place of a committee weighted by cross-validation. The default takes the greedily likeliest set.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.blocks import load_rows
from poolwise.kernels.clustering import kmeans
from poolwise.kernels.distances import UnitRows, sq_norms
from poolwise.kernels.dpp import KernelVectors, LargestResidual, condition_on, low_rank_k_dpp
from poolwise.kernels.implicit import pick_lazily
from poolwise.kernels.sampling import best_first, stream_scores
from poolwise.kernels.scores import entropy
from poolwise.registry import strategy
from poolwise.types import FloatArray, IndexArray, Picks, Rows

JITTER = 1e-6
"""Added to the diagonal, as a share of its mean, so that picks go on beyond the rank of the kernel."""
LABELED_JITTER = 1e-3
PAIRS = 2000
"""Random pairs whose median distance is the width of the Gaussian kernel."""
SAMPLED_ROWS = 50_000
"""Larger pools are cut to max(20 B, 10,000) items of highest quality before sampling."""
FEATURES = 512
"""Random features of the Gaussian kernel when sampling, at least."""
CLUSTERS = 1024
SMALLEST_SPREAD = 1e-12


@strategy(
    "dpp",
    family="hybrid",
    paper="arXiv:2107.01622",
    cost="k-means with 1024 centres, then the rows that may come first",
    use_when="A batch should be uncertain, typical and varied, and no single of these may be given up.",
    device=("D2 distances",),
)
def dpp(
    embeddings: Rows,
    probs: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    mode: Literal["map", "sample", "best_of"] = "map",
    kernel: Literal["rbf", "linear"] = "rbf",
    alpha: float = 1.0,
    beta: float = 1.0,
    delta: float = 1e-3,
    hardest: bool = True,
    condition_on_labeled: bool = False,
    draws: int = 20,
) -> Picks:
    """Pick a set of large determinant, whose kernel weighs entropy, typicality and dissimilarity.

    Parameters
    ----------
    embeddings : (N, D) features
    probs : (N, C) class probabilities
    labeled : (L,) int64 pool indices, sorted; used only with `condition_on_labeled`
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : draws the k-means seeds, the pairs that set the kernel's width, and the sets
    mode : "map" adds the item that raises the determinant most; "sample" draws a set from the process exactly;
        "best_of" keeps the drawn set of largest summed informativeness
    kernel : "rbf", a Gaussian of the median distance; "linear", of rows scaled to unit length
    alpha, beta : powers of informativeness and representativeness, >= 0
    delta : smallest value of either, in (0, 1]
    hardest : always take the most informative item (ties: more typical, then the lowest pool index)
    condition_on_labeled : count labeled items as taken; only for mode="map"
    draws : sets drawn for mode="best_of", >= 1

    Returns
    -------
    Picks; scores are the logarithms of what each pick multiplied the determinant by (for a drawn set: of its
    quality). Components: `informativeness`, `representativeness`, `quality`.

    Raises
    ------
    OptionError
        If alpha, beta, delta or draws is out of range.
    InputError
        If a drawn set is to be larger than the rank of the kernel (linear: at most D).

    Notes
    -----
    Time: k-means, then about the active rows x (D + B) per pick; memory O(U + B^2).
    """
    if alpha < 0 or beta < 0 or not 0 < delta <= 1 or draws < 1:
        raise OptionError(
            "dpp: alpha and beta must be at least 0, delta in (0, 1] and draws at least 1; "
            f"got {alpha}, {beta}, {delta} and {draws}."
        )
    informative = _informativeness(probs, unlabeled)
    typical = _representativeness(embeddings, unlabeled, batch_size, rng)
    quality = np.maximum(informative, delta) ** alpha * np.maximum(typical, delta) ** beta
    rows: Rows = UnitRows(embeddings) if kernel == "linear" else embeddings
    gamma = _gamma(embeddings, unlabeled, rng) if kernel == "rbf" else None
    start = int(np.lexsort((unlabeled, -typical, -informative))[0]) if hardest else None
    if mode == "map":
        given = labeled if condition_on_labeled else labeled[:0]
        pos, scores = _likeliest(rows, unlabeled, quality, gamma, batch_size, start, given)
    else:
        pos = _drawn(
            rows, unlabeled, quality, gamma, batch_size, start, informative, draws if mode == "best_of" else 1, rng
        )
        scores = np.log(quality[pos])
    return Picks(
        unlabeled[pos],
        scores,
        {"informativeness": informative[pos], "representativeness": typical[pos], "quality": quality[pos]},
        {"mode": mode, "kernel": kernel},
    )


def _informativeness(probs: Rows, unlabeled: IndexArray) -> FloatArray:
    """Entropy over its largest possible value, (U,) in [0, 1]."""
    most = float(np.log(max(2, probs.shape[1])))
    return np.asarray(np.clip(stream_scores(entropy, {"probs": probs}, unlabeled) / most, 0, 1))


def _representativeness(
    embeddings: Rows, unlabeled: IndexArray, batch_size: int, rng: np.random.Generator
) -> FloatArray:
    """sqrt(size of the cluster over the largest) times a Gaussian of the distance to its centre, (U,) in [0, 1]."""
    n = len(unlabeled)
    clusters = kmeans(embeddings, unlabeled, min(max(batch_size, 10), n) if n <= 100_000 else CLUSTERS, rng)
    d = clusters.sq_distances.astype(np.float64)
    total = np.bincount(clusters.labels, weights=d, minlength=len(clusters.sizes))
    spread = np.maximum(total / np.maximum(clusters.sizes, 1), SMALLEST_SPREAD)
    share = np.sqrt(clusters.sizes / clusters.sizes.max())
    return np.asarray(share[clusters.labels] * np.exp(-d / (2 * spread[clusters.labels])))


def _gamma(embeddings: Rows, unlabeled: IndexArray, rng: np.random.Generator) -> float:
    """1 / (2 s^2) for the median distance s of random pairs; 1 / 2 if most pairs coincide."""
    pairs = rng.integers(len(unlabeled), size=(2, PAIRS))
    used, back = np.unique(pairs, return_inverse=True)
    x = load_rows(embeddings, unlabeled[used], np.float64)
    back = back.reshape(pairs.shape)
    apart = pairs[0] != pairs[1]
    s2 = float(np.median(sq_norms(x[back[0, apart]] - x[back[1, apart]]))) if apart.any() else 0.0
    return 1 / (2 * s2) if s2 > np.finfo(np.float64).tiny else 0.5


def _likeliest(
    rows: Rows,
    unlabeled: IndexArray,
    quality: FloatArray,
    gamma: float | None,
    count: int,
    start: int | None,
    labeled: IndexArray,
) -> tuple[IndexArray, FloatArray]:
    origin = None if gamma is None else load_rows(rows, unlabeled[:1], np.float64)[0]
    vectors = KernelVectors(rows, unlabeled, quality, gamma, count + len(labeled), origin)
    jitter = JITTER * float(np.square(quality).mean())
    rule = LargestResidual(count + len(labeled), jitter)
    if len(labeled):
        known = KernelVectors(rows, labeled, np.ones(len(labeled)), gamma, count, origin)
        rule.give(known.take(np.arange(len(labeled))), LABELED_JITTER)
    upper = np.square(quality) + jitter
    upper *= 1 + 1e-9
    pos = np.empty(0, dtype=np.int64)
    if start is not None:
        pos = np.array([start])
        rule.give(vectors.take(pos), jitter)
        upper[start] = -np.inf
    if len(pos) < count:
        pos = np.concatenate([pos, pick_lazily(vectors, rule, upper, count - len(pos))[0]])
    return pos, np.log(np.maximum(rule.residuals[len(labeled) :], np.finfo(np.float64).tiny))


def _drawn(
    rows: Rows,
    unlabeled: IndexArray,
    quality: FloatArray,
    gamma: float | None,
    count: int,
    start: int | None,
    informative: FloatArray,
    draws: int,
    rng: np.random.Generator,
) -> IndexArray:
    kept = np.arange(len(unlabeled))
    if len(kept) > SAMPLED_ROWS:
        kept = np.sort(best_first(quality, unlabeled, max(20 * count, 10_000)))
        kept = kept if start is None else np.union1d(kept, [start])
    x = load_rows(rows, unlabeled[kept], np.float64)
    if gamma is not None:
        x = _random_features(x, gamma, max(FEATURES, 2 * count), rng)
    factor = x * quality[kept, None]
    first = np.empty(0, dtype=np.int64)
    if start is not None:
        first = np.searchsorted(kept, [start])
        factor = condition_on(factor, int(first[0])) if factor[first[0]].any() else factor
    if len(first) == count:
        return np.asarray(kept[first])
    process: Any = low_rank_k_dpp(factor, count - len(first))
    sets = [process.sample(rng) for _ in range(draws)]
    best = max(sets, key=lambda chosen: float(informative[kept[chosen]].sum()))
    return np.asarray(kept[np.concatenate([first, best])])


def _random_features(x: FloatArray, gamma: float, count: int, rng: np.random.Generator) -> FloatArray:
    """Cosine and sine features (n, count) whose inner products are near exp(-gamma |x - y|^2) (Rahimi & Recht 2007)."""
    frequency = rng.standard_normal((x.shape[1], count // 2)) * np.sqrt(2 * gamma)
    phase = (x - x[0]) @ frequency
    return np.asarray(np.concatenate([np.cos(phase), np.sin(phase)], axis=1) / np.sqrt(count // 2))
