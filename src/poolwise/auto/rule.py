"""auto: one rule that turns from coverage to uncertainty as the head gets better.

Source: our own; a blend of Uncertainty Herding (Bae, Oliveira & Sutherland, ICLR 2025, equation 4) with a
margin filter and a class-balance weight, annealed by the head's out-of-fold quality q:

    q    = (accuracy out of fold - chance) / (1 - chance), clipped to [0, 1]; chance = sum_c share_c^2
    keep = n^(1-q) (8 B)^q candidates of largest u = 1 - margin, at least 4 B
    w_j  = ((1-q) + q u_j / mean(u)) sum_c p_jc / sqrt(n_c + 1)       weight of item j that is to be covered
    s^2  = median squared distance of unit rows to their k-th nearest unlabeled row, k = n / (L + B)
    take B candidates greedily, maximising sum_j w_j max_s exp(-d_js^2 / s^2)
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.blocks import LinearLogits, Softmax, load_rows
from poolwise.kernels.coverage import greedy_soft_cover, reference_notes, reference_size
from poolwise.kernels.distances import UnitRows, sq_distances
from poolwise.kernels.sampling import best_first, stream_scores
from poolwise.registry import strategy
from poolwise.train.linear_probe import fit_linear, out_of_fold_logits
from poolwise.types import Array, FloatArray, IndexArray, Picks, Rows

RADIUS_PROBES = 400
"""Rows on which the radius is measured."""
RADIUS_ROWS = 20_000
"""Rows among which their neighbours are looked for; k is scaled to them."""
SMALLEST_S2 = 1e-6


@strategy(
    "auto",
    family="auto",
    paper="ours; after arXiv:2412.20644",
    cost="one pass, and candidates against max(20 B, 5000) reference items",
    use_when="Always, unless you know better: it covers first and turns to uncertainty as the model improves.",
)
def auto(
    embeddings: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    labels: IndexArray | None = None,
    logits: Rows | None = None,
    *,
    batch_size: int,
    rng: np.random.Generator,
    quality: float | None = None,
    filter_width: float = 8.0,
    balance: bool = True,
    reference: int | None = None,
) -> Picks:
    """Cover the pool while the model is poor, and what it is unsure of as it gets better.

    Parameters
    ----------
    embeddings : (N, D) features
    labeled : (L,) int64 pool indices, sorted; may be empty
    unlabeled : (U,) int64 pool indices, sorted
    labels : (N,) int64, -1 where unlabeled; needed to judge the head
    logits : (N, C); default: those of a linear head fitted on the labeled rows
    batch_size : B, 1 <= B <= U
    rng : draws the rows that measure the radius, and the reference rows
    quality : fixes q, in [0, 1]; default: measured out of fold
    filter_width : candidates per pick when the head is perfect
    balance : weigh rows of rarely labeled classes more
    reference : rows on which coverage is measured; default all up to 20,000, else max(20 B, 5000)

    Returns
    -------
    Picks; scores are gains in weighted coverage, components the uncertainty and the gain, notes say what was
    trusted: quality, candidates, radius, reference.

    Notes
    -----
    Time U C + (candidates) R D for R reference rows; memory R D + U.
    """
    n = len(unlabeled)
    y = np.empty(0, dtype=np.int64) if labels is None else labels[labeled]
    q, notes = _quality(embeddings, labeled, y) if quality is None else (float(np.clip(quality, 0, 1)), {})
    probs = _probs(embeddings, labeled, y, logits)
    doubt: FloatArray = np.ones(n)
    rarity: FloatArray = np.ones(n)
    if probs is not None:
        share = class_weights(y, probs.shape[1]) if balance else np.ones(probs.shape[1])
        doubt = stream_scores(_doubt, {"probs": probs}, unlabeled)
        rarity = stream_scores(lambda probs: probs @ share.astype(probs.dtype), {"probs": probs}, unlabeled)
    keep = int(np.clip(n ** (1 - q) * (filter_width * batch_size) ** q, min(n, 4 * batch_size), n))
    kept = np.sort(best_first(doubt, unlabeled, keep)) if keep < n else np.arange(n)
    weight = ((1 - q) + q * doubt / max(float(doubt.mean()), 1e-12)) * rarity
    rows = UnitRows(embeddings)
    s2 = fair_radius(rows, unlabeled, len(labeled) + batch_size, rng)
    size = reference_size(n, batch_size, int(embeddings.shape[1]), reference)
    sample = np.arange(n) if size == n else np.sort(rng.permutation(n)[:size])
    cover = greedy_soft_cover(
        rows, unlabeled[kept], unlabeled[sample], weight[sample], float(np.sqrt(s2)), labeled, batch_size
    )
    chosen = kept[cover.positions]
    return Picks(
        indices=unlabeled[chosen],
        scores=cover.gains,
        components={"coverage_gain": cover.gains, "uncertainty": doubt[chosen], "class_rarity": rarity[chosen]},
        notes={
            "quality": q,
            **notes,
            "candidates": keep,
            "radius": float(np.sqrt(s2)),
            "coverage": cover.coverage,
            **reference_notes(size, n, batch_size),
        },
    )


def _quality(embeddings: Rows, labeled: IndexArray, y: IndexArray) -> tuple[float, dict[str, float]]:
    """Out-of-fold accuracy above chance; 0 with fewer than two classes, for lack of anything to judge."""
    if len(np.unique(y)) < 2:
        return 0.0, {}
    n_classes = int(y.max()) + 1
    out = out_of_fold_logits(load_rows(embeddings, labeled), y, n_classes)
    accuracy = float((out.argmax(axis=1) == y).mean())
    chance = float(((np.bincount(y) / len(y)) ** 2).sum())
    return float(np.clip((accuracy - chance) / (1 - chance), 0, 1)), {"accuracy_out_of_fold": accuracy}


def _probs(embeddings: Rows, labeled: IndexArray, y: IndexArray, logits: Rows | None) -> Rows | None:
    if logits is not None:
        return Softmax(logits)
    if len(np.unique(y)) < 2:
        return None
    head = fit_linear(load_rows(embeddings, labeled), y, int(y.max()) + 1)
    return Softmax(LinearLogits(embeddings, head.head_weight, head.head_bias))


def class_weights(y: IndexArray, n_classes: int) -> FloatArray:
    """1 / sqrt(n_c + 1) for each class, n_c being its labels so far."""
    counts = np.bincount(y[y < n_classes], minlength=n_classes)
    out: FloatArray = 1 / np.sqrt(counts + 1.0)
    return out


def _doubt(probs: Array) -> FloatArray:
    if probs.shape[1] < 2:
        return np.zeros(len(probs))
    top_two = np.partition(probs, -2, axis=1)[:, -2:]
    out: FloatArray = np.clip(1 - top_two[:, 1] + top_two[:, 0], 0, 1)
    return out


def fair_radius(rows: Rows, unlabeled: IndexArray, n_centres: int, rng: np.random.Generator) -> float:
    """Squared radius at which n_centres balls hold all rows between them: the median over sampled rows."""
    n = len(unlabeled)
    among = unlabeled if n <= RADIUS_ROWS else np.sort(rng.choice(unlabeled, RADIUS_ROWS, replace=False))
    probes = among if len(among) <= RADIUS_PROBES else np.sort(rng.choice(among, RADIUS_PROBES, replace=False))
    k = int(np.clip(round(len(among) / n_centres), 2, len(among) - 1)) if len(among) > 2 else 1
    d2 = sq_distances(load_rows(rows, probes), load_rows(rows, among))  # (probes, among); itself comes first
    k = min(k, d2.shape[1] - 1)
    return max(float(np.median(np.partition(d2, k, axis=1)[:, k])), SMALLEST_S2)
