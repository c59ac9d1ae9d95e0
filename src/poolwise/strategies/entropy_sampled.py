"""Entropy of the mean over stochastic models: query where the average prediction is closest to uniform.

Source: Gal, Islam & Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML 2017, section 4; the variants
"with dropout" of DeepAL+, Zhan et al., arXiv:2203.13450.
"""

from __future__ import annotations

from poolwise.kernels import samples, scores
from poolwise.registry import acquisition
from poolwise.types import FloatArray


@acquisition(
    "entropy_sampled",
    family="uncertainty",
    paper="arXiv:2203.13450",
    use_when="Models can be sampled; like entropy, and calmer where a single model is overconfident.",
)
def entropy_sampled(prob_samples: FloatArray) -> FloatArray:
    """Score rows by the entropy of the mean probability over the samples.

    Parameters
    ----------
    prob_samples : (n, S, C) float, rows along C sum to 1

    Returns
    -------
    (n,) float in [0, log C] nats; higher means query sooner.

    Notes
    -----
    Time O(n S C).
    """
    return scores.entropy(samples.mean_probs(prob_samples))
