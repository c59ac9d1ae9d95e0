"""Uncertainty Herding: cover the uncertain items; the balls shrink as labels come in.

Source: Bae, Oliveira & Sutherland, "Uncertainty Herding: One Active Learning Method for All Label Budgets",
ICLR 2025, equation 4 and Algorithm 1.
Differs from the paper: the temperature is an option (fit it out of fold where the head is trained); pools above
20,000 items are measured on a sample of max(20 B, 5000) drawn half uniformly and half by uncertainty, with
importance weights, where the paper draws 35,000 uniformly.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels import scores
from poolwise.kernels.blocks import load_rows
from poolwise.kernels.coverage import greedy_soft_cover, reference_notes, reference_size
from poolwise.kernels.distances import UnitRows, sq_distances
from poolwise.kernels.sampling import stream_scores
from poolwise.registry import strategy
from poolwise.types import FloatArray, IndexArray, Picks, Rows

SMALLEST_SIGMA = 1e-6
"""Labeled pairs closer than this are duplicates and say nothing about the spacing."""


@strategy(
    "uherding",
    family="hybrid",
    paper="arXiv:2412.20644",
    cost="one pass against max(20 B, 5000) reference items",
    use_when="The budget runs from a few labels to many: it turns from coverage to uncertainty by itself.",
)
def uherding(
    embeddings: Rows,
    probs: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    uncertainty: Literal["margin", "confidence", "entropy"] = "margin",
    temperature: float = 1.0,
    sigma: float | None = None,
    reference: int | None = None,
) -> Picks:
    """Greedily maximise the uncertainty-weighted similarity of all unlabeled items to the nearest known one.

    Parameters
    ----------
    embeddings : (N, D) features; rows are scaled to unit length
    probs : (N, C) class probabilities; ignored while nothing is labeled, when all items count alike
    labeled : (L,) int64 pool indices, sorted
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : draws the reference items
    uncertainty : 1 - margin, 1 - largest probability, or entropy / log C
    temperature : logits are divided by it, > 0; above 1 softens an overconfident head
    sigma : width of the kernel; default the smallest distance between labeled items, 1 while there are fewer than 2
    reference : items on which coverage is measured; default all up to 20,000 items, else max(20 B, 5000)

    Returns
    -------
    Picks; scores are the gains in uncertainty-weighted coverage.

    Notes
    -----
    Time U C + L^2 D + U R D for R reference items, then about 32 R D per pick; memory R D + U.
    """
    if temperature <= 0 or (sigma is not None and sigma <= 0):
        raise OptionError(f"uherding: temperature and sigma must be above 0; got {temperature} and {sigma}.")
    rows = UnitRows(embeddings)
    doubt: FloatArray = np.ones(len(unlabeled))
    if len(labeled):

        def score(probs: FloatArray) -> FloatArray:
            return uncertainty_of(probs, uncertainty, temperature)

        doubt = stream_scores(score, {"probs": probs}, unlabeled)
    width = smallest_distance(rows, labeled) if sigma is None else sigma
    size = reference_size(len(unlabeled), batch_size, int(embeddings.shape[1]), reference)
    sample, weights = _reference(doubt, size, rng)
    cover = greedy_soft_cover(rows, unlabeled, unlabeled[sample], weights, width, labeled, batch_size)
    return Picks(
        indices=unlabeled[cover.positions],
        scores=cover.gains,
        components={"coverage_gain": cover.gains, "uncertainty": doubt[cover.positions]},
        notes={"coverage": cover.coverage, "sigma": width, **reference_notes(size, len(unlabeled), batch_size)},
    )


def _reference(doubt: FloatArray, size: int, rng: np.random.Generator) -> tuple[IndexArray, FloatArray]:
    """Positions to measure coverage on, and weights with which their sum estimates the mean over all."""
    n = len(doubt)
    if size == n:
        return np.arange(n), doubt / n
    law = 0.5 / n + 0.5 * doubt / doubt.sum() if doubt.sum() > 0 else np.full(n, 1 / n)
    drawn, times = np.unique(rng.choice(n, size, p=law / law.sum()), return_counts=True)
    return drawn, times * doubt[drawn] / (size * n * law[drawn])


def uncertainty_of(probs: FloatArray, kind: str, temperature: float) -> FloatArray:
    """Uncertainty of probabilities after division of their logits by a temperature, (n,) in [0, 1]."""
    if temperature != 1:
        probs = np.maximum(probs, 1e-30) ** (1 / temperature)
        probs = probs / probs.sum(axis=1, keepdims=True)
    if probs.shape[1] < 2:
        return np.zeros(len(probs))
    if kind == "entropy":
        return np.asarray(np.clip(scores.entropy(probs) / np.log(probs.shape[1]), 0, 1))
    return np.asarray(np.clip(scores.margin(probs) if kind == "margin" else scores.least_confidence(probs), 0, 1))


def smallest_distance(rows: Rows, labeled: IndexArray) -> float:
    """Smallest distance between two labeled rows that are not duplicates; 1 if there is none."""
    least = np.inf
    for start in range(0, len(labeled), 1024):
        x = load_rows(rows, labeled[start : start + 1024])
        for other in range(start, len(labeled), 1024):
            d2 = sq_distances(x, load_rows(rows, labeled[other : other + 1024]))
            if other == start:
                np.fill_diagonal(d2, np.inf)
            least = min(least, float(d2[d2 > SMALLEST_SIGMA**2].min(initial=np.inf)))
    return float(np.sqrt(least)) if np.isfinite(least) else 1.0
