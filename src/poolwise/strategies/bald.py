"""BALD: query where the stochastic models are each sure and yet disagree.

Source: Houlsby, Huszar, Ghahramani & Lengyel, "Bayesian Active Learning for Classification and Preference Learning",
arXiv:1112.5745; with sampled networks: Gal, Islam & Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML
2017. Power batches: Kirsch et al., "Stochastic Batch Acquisition", TMLR 2023.
Differs from the paper: the batch is drawn by power sampling unless stochastic="none" asks for the best scores.
"""

from __future__ import annotations

from poolwise.kernels import samples
from poolwise.registry import acquisition
from poolwise.types import FloatArray


@acquisition(
    "bald",
    family="uncertainty",
    paper="arXiv:1112.5745",
    use_when="Models can be sampled (a Laplace head, dropout, an ensemble) and some items are noisy by nature.",
    stochastic="power",
)
def bald(prob_samples: FloatArray) -> FloatArray:
    """Score rows by the mutual information between the label and the model.

    Parameters
    ----------
    prob_samples : (n, S, C) float, rows along C sum to 1

    Returns
    -------
    (n,) float in [0, log C] nats; higher means query sooner. Equal samples give 0.

    Notes
    -----
    Time O(n S C).
    """
    return samples.mutual_information(prob_samples)
