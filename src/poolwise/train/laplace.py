"""Last-layer Laplace: turn a trained linear head into a head that can be sampled.

Source: Daxberger, Kristiadi, Immer, Eschenhagen, Bauer & Hennig, "Laplace Redux", NeurIPS 2021, section 2.
"""

from __future__ import annotations

import numpy as np

from poolwise.chance import rng_for
from poolwise.kernels.posterior import Curvature, Laplace, SampledProbs, fit_posterior
from poolwise.train.linear_probe import LinearHead
from poolwise.types import Array, Rows


def fit_laplace(
    head: LinearHead, x: Array, *, curvature: Curvature = "shared", precision: float | None = None
) -> Laplace:
    """Fit a Gaussian posterior around a calibrated head.

    Parameters
    ----------
    head : fitted on the rows
    x : (L, D) the labeled rows
    curvature, precision : see `kernels.posterior.fit_posterior`

    Returns
    -------
    Laplace, with `mean_field(x)`, `variances(x)`, `samples(count, rng)` and `prob_samples(embeddings, count, rng)`.

    Raises
    ------
    ShapeError, OptionError
        As `fit_posterior`.
    """
    return fit_posterior(np.asarray(x), head.head_weight, head.head_bias, curvature=curvature, precision=precision)


def laplace_samples(head: LinearHead, x: Array, embeddings: Rows, *, samples: int = 16, seed: int = 0) -> SampledProbs:
    """Give the (N, S, C) probabilities of a pool under heads drawn around a trained one; nothing is stored.

    Parameters
    ----------
    head, x : as for `fit_laplace`
    embeddings : (N, D) rows of the pool
    samples : S >= 1
    seed : of the drawn heads

    Returns
    -------
    Rows that `pw.select(..., prob_samples=...)` takes; the same heads for every row.
    """
    return fit_laplace(head, x).prob_samples(embeddings, samples, rng_for(seed, "laplace"))
