"""Margin: query where the two most probable classes are closest.

Source: Scheffer, Decomain & Wrobel, "Active Hidden Markov Models for Information Extraction",
IDA 2001.
"""

from __future__ import annotations

from poolwise.kernels import scores
from poolwise.registry import acquisition
from poolwise.types import FloatArray


@acquisition(
    "margin",
    family="uncertainty",
    paper="Scheffer et al., IDA 2001",
    use_when="Many labels per class and a head that is already good.",
    from_logits=scores.margin_of_logits,
    misses=scores.margin_misses,
    judged=scores.judged_margin,
    float32_error=scores.ROUNDING,
)
def margin(probs: FloatArray) -> FloatArray:
    """Score rows by one minus the gap between the top two probabilities.

    Parameters
    ----------
    probs : (n, C) float, rows sum to 1

    Returns
    -------
    (n,) float in [0, 1]; higher means query sooner.

    Notes
    -----
    Time O(n C).
    """
    return scores.margin(probs)
