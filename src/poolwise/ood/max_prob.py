"""Maximum probability: items of which the model is unsure are taken for foreign.

Source: Hendrycks & Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural
Networks", ICLR 2017.
"""

from __future__ import annotations

from poolwise.kernels.sampling import stream_scores
from poolwise.kernels.scores import least_confidence
from poolwise.registry import detector
from poolwise.types import FloatArray, IndexArray, Rows


@detector(
    "max_prob", paper="arXiv:1610.02136", use_when="As the baseline: it also flags what an uncertain model needs."
)
def max_prob(probs: Rows, items: IndexArray) -> FloatArray:
    """Score items by one minus their largest class probability.

    Parameters
    ----------
    probs : (N, C) class probabilities
    items : (n,) int64 pool indices, sorted

    Returns
    -------
    (n,) float64 in [0, 1 - 1/C].
    """
    return stream_scores(least_confidence, {"probs": probs}, items)
