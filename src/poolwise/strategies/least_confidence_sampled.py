"""Least confidence of the mean over stochastic models: query where no class is likely on average.

Source: Gal, Islam & Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML 2017, section 4; the variants
"with dropout" of DeepAL+, Zhan et al., arXiv:2203.13450.
"""

from __future__ import annotations

from poolwise.kernels import samples, scores
from poolwise.registry import acquisition
from poolwise.types import FloatArray


@acquisition(
    "least_confidence_sampled",
    family="uncertainty",
    paper="arXiv:2203.13450",
    use_when="Models can be sampled; like least_confidence, and calmer where a single model is overconfident.",
)
def least_confidence_sampled(prob_samples: FloatArray) -> FloatArray:
    """Score rows by one minus the largest probability of the mean over the samples.

    Parameters
    ----------
    prob_samples : (n, S, C) float, rows along C sum to 1

    Returns
    -------
    (n,) float in [0, 1 - 1/C]; higher means query sooner.

    Notes
    -----
    Time O(n S C).
    """
    return scores.least_confidence(samples.mean_probs(prob_samples))
