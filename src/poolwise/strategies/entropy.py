"""Entropy: query where the predicted distribution is closest to uniform.

Source: Shannon, "A Mathematical Theory of Communication", 1948; as a query rule in Settles,
"Active Learning Literature Survey", 2009, section 3.1.
"""

from __future__ import annotations

from poolwise.kernels import scores
from poolwise.registry import acquisition
from poolwise.types import FloatArray


@acquisition(
    "entropy",
    family="uncertainty",
    paper="Settles, 2009",
    use_when="Errors of all kinds cost the same and the probabilities are calibrated; margin is often better.",
    from_logits=scores.entropy_of_logits,
    judged=scores.judged_entropy,
)
def entropy(probs: FloatArray) -> FloatArray:
    """Score rows by the entropy of their probabilities.

    Parameters
    ----------
    probs : (n, C) float, rows sum to 1

    Returns
    -------
    (n,) float in [0, log C] nats; higher means query sooner.

    Notes
    -----
    Time O(n C). A probability of 0 adds nothing.
    """
    return scores.entropy(probs)
