"""auto: one rule that covers the pool where it is unsure, and trusts head and neighbours as far as labels prove them.

Source: our own; a blend of Uncertainty Herding (Bae, Oliveira & Sutherland, ICLR 2025, equation 4) with a
margin filter and a class-balance weight:

    q    = lower bound of the accuracy out of fold, as part of the way from chance to 1; chance = sum_c share_c^2
    g    = the same for the upper bound of the share of labeled rows whose nearest labeled row has their class; chance
           is that of any other labeled row
    keep = n^(1-q) (8 B)^q candidates of largest u = 1 - margin, at least 4 B
    w_j  = u_j sum_c p_jc / sqrt(n_c + 1)       weight of item j that is to be covered; u = 1 without a model
    s    = s_fair^g s_least^(1-g);  s_fair^2 = median squared distance of unit rows to their k-th nearest unlabeled row,
           k = n / (L + B);  s_least = smallest distance between labeled rows, at most s_fair
    take B candidates greedily, maximising sum_j w_j max_s exp(-d_js^2 / s^2)

Bounds are 95 % one-sided Wilson bounds. A filter cannot be undone, so the head has to prove itself first (q); a wide
radius is the better bet until neighbours are proven to disagree (g). Weights need no such guard: probabilities that are
calibrated out of fold are flat while the head knows little.

Large pools: coverage is measured on R = max(20 B, 10,000) random items. Above `EXACT_PAIRS` pairs of candidates and
reference items the kernel is cut off beyond the reference items nearest to a candidate (`kernels/cell_cover.py`),
and candidates are thinned out at random, to 8 B at the least, if finding these would cost more than `CELL_WORK`.
Thinning out before or after the filter gives the same law, so only a random part of the pool need be scored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from poolwise.auto.clock import Clock
from poolwise.auto.head_quality import (
    Agreement,
    Quality,
    class_weights,
    head_quality,
    neighbour_agreement,
    own_head,
)
from poolwise.errors import OptionError
from poolwise.kernels.blocks import Softmax, iter_blocks, load_rows
from poolwise.kernels.cell_cover import cell_soft_cover, cost_per_query
from poolwise.kernels.coverage import EXACT_REFERENCE, SoftCover, greedy_soft_cover, reference_notes, reference_size
from poolwise.kernels.distances import UnitRows, sq_distances
from poolwise.kernels.sampling import row_blocks, stream_top
from poolwise.kernels.scores import margin
from poolwise.registry import strategy
from poolwise.types import FloatArray, IndexArray, Picks, Rows

RADIUS_PROBES = 400
"""Rows on which the radius is measured."""
RADIUS_ROWS = (20_000, 2**18)
"""Fewest and most rows among which their neighbours are looked for; k is scaled to them."""
RADIUS_BLOCK = 5000
"""Rows compared with the probes at once: three arrays of 8 MB."""
SMALLEST_S2 = 1e-6
EXACT_PAIRS = 3e7
"""Most pairs of candidates and reference items that are compared one by one: a few seconds."""
CELL_WORK = 4e11
"""Most multiplications spent on the search in cells: about 20 s on two cores."""
PAIR_WORK = 100
"""Work on a pair besides its product, in multiplications."""
LEAST_REFERENCE = 10_000
"""Reference items with cells; with fewer, coverage falls by 2 % on noisy rows."""
LEAST_CANDIDATES = 8
"""Candidates per pick that thinning out leaves."""
LISTS_BYTES = 2**28
"""Short lists of the candidates take no more memory, if that leaves 8 candidates per pick."""

Method = Literal["auto", "exact", "cells"]


@strategy(
    "auto",
    family="auto",
    paper="ours; after arXiv:2412.20644",
    cost="one pass, and candidates against the nearest of max(20 B, 10,000) reference items",
    use_when="Always, unless you know better: it covers what the model is unsure of, and trusts what labels prove.",
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
    sigma: float | None = None,
    reference: int | None = None,
    method: Method = "auto",
) -> Picks:
    """Cover the pool, above all what the model is unsure of, with the trust that the labels at hand justify.

    Parameters
    ----------
    embeddings : (N, D) features
    labeled : (L,) int64 pool indices, sorted; may be empty
    unlabeled : (U,) int64 pool indices, sorted
    labels : (N,) int64, -1 where unlabeled; needed to judge the head
    logits : (N, C); default: those of a linear head fitted on the labeled rows
    batch_size : B, 1 <= B <= U
    rng : draws the rows that measure the radius, the reference rows and, in large pools, the candidates
    quality : fixes q, in [0, 1], which then tilts the weights too: (1 - q) + q u_j / mean(u) in place of u_j, and
        sets g to 1; default: q and g are measured
    filter_width : candidates per pick when the head is certainly perfect, at least 4
    balance : weigh rows of rarely labeled classes more
    sigma : fixes the radius, > 0; default: measured
    reference : rows on which coverage is measured; default all up to 20,000, else max(20 B, 10,000)
    method : "exact" compares all candidates with all reference rows, "cells" only with the nearest; "auto" decides
        by the work

    Returns
    -------
    Picks; scores are gains in weighted coverage, components the uncertainty and the gain, notes say what was
    trusted (quality, neighbours, candidates, radius, reference, form) and where the seconds went.

    Notes
    -----
    Time: one pass over at most U rows, and at most some 20 s on two cores for the search, unless 8 B candidates
    alone take longer. Memory U + R D, or with cells U + D times the candidates.
    """
    _check_options(quality, filter_width, sigma)
    clock = Clock()
    y = labeled[:0] if labels is None else labels[labeled]
    rows = UnitRows(embeddings)
    judged = head_quality(embeddings, labeled, y) if quality is None else Quality(quality, None)
    near = neighbour_agreement(rows, labeled, y) if quality is None else Agreement(1.0, None, None)
    q = judged.value
    tilt = 1.0 if judged.accuracy is not None else q
    probs: Rows | None = None if logits is None else Softmax(logits)
    if probs is None and (own := own_head(embeddings, labeled, y)) is not None:
        probs, y = own
    clock.lap("training")
    plan = make_plan(len(unlabeled), len(labeled), batch_size, embeddings.shape[1], q, filter_width, reference, method)
    sample = _draw(unlabeled, plan.reference, rng)  # (R,) pool indices
    candidates = _candidates(probs, unlabeled, plan, rng)
    share = None if probs is None or not balance else class_weights(y, probs.shape[1])
    doubt, rarity = _scores(probs, share, sample)
    mean = float(doubt.mean())
    weight = ((1 - tilt) + tilt * doubt / mean) * rarity if mean > 0 else rarity
    clock.lap("scoring")
    width = sigma
    if width is None:
        fair = math.sqrt(fair_radius(rows, unlabeled, len(labeled) + batch_size, rng))
        width = fair**near.value * min(fair, near.least or fair) ** (1 - near.value)
    cover = _cover(rows, candidates, sample, weight, width, labeled, batch_size, plan, rng)
    chosen = candidates[cover.positions]
    doubt, rarity = _scores(probs, share, chosen)
    clock.lap("search")
    return Picks(
        indices=chosen,
        scores=cover.gains,
        components={"coverage_gain": cover.gains, "uncertainty": doubt, "class_rarity": rarity},
        notes={
            "quality": q,
            **({} if judged.accuracy is None else {"accuracy_out_of_fold": judged.accuracy}),
            **({} if near.share is None else {"neighbours": near.value, "agreement_of_neighbours": near.share}),
            "filter": plan.keep,
            "candidates": len(candidates),
            "radius": width,
            "coverage": cover.coverage,
            "form": plan.form,
            **reference_notes(plan.reference, len(unlabeled), batch_size),
            **clock.laps,
        },
    )


def _check_options(quality: float | None, filter_width: float, sigma: float | None) -> None:
    if quality is not None and not 0 <= quality <= 1:
        raise OptionError(f"auto: quality must be between 0 and 1; got {quality}. Leave it out to measure it.")
    if not filter_width >= 4:
        raise OptionError(f"auto: filter_width must be at least 4 (candidates per pick); got {filter_width}.")
    if sigma is not None and not sigma > 0:
        raise OptionError(f"auto: sigma must be above 0; got {sigma}. Leave it out to measure it.")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is looked at.

    keep : unlabeled items that pass the margin filter
    candidates : of them, those that may be chosen
    reference : items on which coverage is measured
    form : "exact" or "cells"
    """

    keep: int
    candidates: int
    reference: int
    form: str


def make_plan(
    n: int,
    n_labeled: int,
    batch_size: int,
    width: int,
    q: float,
    filter_width: float,
    reference: int | None,
    method: Method,
) -> Plan:
    """Decide from the sizes alone how many candidates and reference items are compared, and in which form."""
    keep = int(np.clip(n ** (1 - q) * (filter_width * batch_size) ** q, min(n, 4 * batch_size), n))
    size = reference_size(n, batch_size, width, reference)
    if method == "exact" or (method == "auto" and keep * size <= EXACT_PAIRS):
        return Plan(keep, keep, size, "exact")
    if reference is None and n > EXACT_REFERENCE:
        size = min(n, max(20 * batch_size, LEAST_REFERENCE))  # rows of the reference need not be in memory together
    pairs, list_bytes = cost_per_query(size, n_labeled + batch_size)
    afford = int(min(CELL_WORK / (pairs * (width + PAIR_WORK)) - n_labeled, LISTS_BYTES / list_bytes))
    return Plan(keep, min(keep, max(LEAST_CANDIDATES * batch_size, afford)), size, "cells")


def _draw(indices: IndexArray, count: int, rng: np.random.Generator) -> IndexArray:
    return indices if count == len(indices) else np.sort(rng.permutation(indices)[:count])


def _candidates(probs: Rows | None, unlabeled: IndexArray, plan: Plan, rng: np.random.Generator) -> IndexArray:
    """Random `plan.candidates` of the `plan.keep` most uncertain items, sorted."""
    if probs is None or plan.keep == len(unlabeled):
        return _draw(unlabeled, plan.candidates, rng)
    drawn = _draw(unlabeled, -(-len(unlabeled) * plan.candidates // plan.keep), rng)
    kept, _ = stream_top(_doubt, {"probs": probs}, drawn, plan.candidates)
    return np.sort(kept)


def _doubt(probs: FloatArray) -> FloatArray:
    return margin(probs) if probs.shape[1] > 1 else np.zeros(len(probs), dtype=probs.dtype)


def _scores(probs: Rows | None, share: FloatArray | None, indices: IndexArray) -> tuple[FloatArray, FloatArray]:
    """Uncertainty and class rarity of some items, (n,) float64 each; ones where there is nothing to go by."""
    doubt, rarity = np.ones(len(indices)), np.ones(len(indices))
    if probs is not None:
        for start, pool, blocks, local in row_blocks({"probs": probs}, indices, np.float64):
            part = slice(start, start + len(pool))
            doubt[part] = _doubt(blocks["probs"])[local]
            if share is not None:
                rarity[part] = (blocks["probs"] @ share)[local]
    return doubt, rarity


def _cover(
    rows: Rows,
    candidates: IndexArray,
    sample: IndexArray,
    weight: FloatArray,
    sigma: float,
    labeled: IndexArray,
    batch_size: int,
    plan: Plan,
    rng: np.random.Generator,
) -> SoftCover:
    if plan.form == "exact":
        return greedy_soft_cover(rows, candidates, sample, weight, sigma, labeled, batch_size)
    return cell_soft_cover(rows, candidates, sample, weight, sigma, labeled, batch_size, rng)


def fair_radius(rows: Rows, unlabeled: IndexArray, n_centres: int, rng: np.random.Generator) -> float:
    """Squared radius at which n_centres balls hold all rows between them: the median over sampled rows.

    Parameters
    ----------
    rows : (N, D)
    unlabeled : (U,) int64 sorted pool indices
    n_centres : >= 1
    rng : draws the sampled rows

    Returns
    -------
    Squared distance, at least 1e-6.
    """
    among = _draw(unlabeled, int(min(len(unlabeled), np.clip(20 * n_centres, *RADIUS_ROWS))), rng)
    probes = _draw(among, min(len(among), RADIUS_PROBES), rng)
    k = min(max(2, round(len(among) / n_centres)), len(among) - 1)
    x = load_rows(rows, probes)
    nearest = np.full((len(probes), k + 1), np.inf, dtype=np.float32)  # the row itself comes first
    for _, block in iter_blocks(rows, among, block_rows=RADIUS_BLOCK):
        both = np.hstack([nearest, sq_distances(x, block)])
        nearest = np.partition(both, k, axis=1)[:, : k + 1]
    return max(float(np.median(nearest.max(axis=1))), SMALLEST_S2)
