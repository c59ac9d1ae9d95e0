"""Mean standard deviation: query where the probabilities of stochastic models spread most.

Source: Kampffmeyer, Salberg & Jenssen, "Semantic Segmentation of Small Objects and Modeling of Uncertainty in Urban
Remote Sensing Images", CVPR Workshops 2016; as a query rule in Gal, Islam & Ghahramani, ICML 2017, section 4.
"""

from __future__ import annotations

from poolwise.kernels import samples
from poolwise.registry import acquisition
from poolwise.types import FloatArray


@acquisition(
    "mean_std",
    family="uncertainty",
    paper="Gal et al., ICML 2017",
    use_when="Models can be sampled; cheaper than bald and close to it.",
)
def mean_std(prob_samples: FloatArray) -> FloatArray:
    """Score rows by the standard deviation over the samples, averaged over the classes.

    Parameters
    ----------
    prob_samples : (n, S, C) float, rows along C sum to 1

    Returns
    -------
    (n,) float in [0, 1/2], with the divisor S; higher means query sooner.

    Notes
    -----
    Time O(n S C).
    """
    return samples.mean_std(prob_samples)
