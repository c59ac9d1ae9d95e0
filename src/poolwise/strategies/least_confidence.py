"""Least confidence: query where the most probable class is least probable.

Source: Lewis & Gale, "A Sequential Algorithm for Training Text Classifiers", SIGIR 1994.
"""

from __future__ import annotations

from poolwise.kernels import scores
from poolwise.registry import acquisition
from poolwise.types import FloatArray


@acquisition(
    "least_confidence",
    family="uncertainty",
    paper="Lewis & Gale, SIGIR 1994",
    use_when="Few classes, and calibrated probabilities.",
    from_logits=scores.least_confidence_of_logits,
    misses=scores.least_confidence_misses,
    judged=scores.judged_least_confidence,
    float32_error=scores.ROUNDING,
)
def least_confidence(probs: FloatArray) -> FloatArray:
    """Score rows by one minus the largest probability.

    Parameters
    ----------
    probs : (n, C) float, rows sum to 1

    Returns
    -------
    (n,) float in [0, 1 - 1/C]; higher means query sooner.

    Notes
    -----
    Time O(n C).
    """
    return scores.least_confidence(probs)
