"""Variation ratio: query where the votes of stochastic models agree least.

Source: Freeman, "Elementary Applied Statistics", 1965; as a query rule in Gal, Islam & Ghahramani,
ICML 2017, section 4.
Differs from code in circulation that uses one deterministic pass: that is least_confidence under another name.
"""

from __future__ import annotations

from poolwise.kernels import samples
from poolwise.registry import acquisition
from poolwise.types import FloatArray


@acquisition(
    "var_ratio",
    family="uncertainty",
    paper="Gal et al., ICML 2017",
    use_when="Many samples of the model (20 or more): with S samples there are only S different scores.",
)
def var_ratio(prob_samples: FloatArray) -> FloatArray:
    """Score rows by the share of samples that vote against the most frequent class.

    Parameters
    ----------
    prob_samples : (n, S, C) float, rows along C sum to 1

    Returns
    -------
    (n,) float in [0, 1 - 1/S]; higher means query sooner.

    Notes
    -----
    Time O(n S C). Equal scores are common; the lower pool index comes first.
    """
    return samples.variation_ratio(prob_samples)
