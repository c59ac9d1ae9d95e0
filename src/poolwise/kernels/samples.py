"""Scores of rows of sampled probabilities: what S stochastic models disagree about.

Every function takes one (n, S, C) block, works on it in pieces that stay in the processor's cache, and answers in the
block's own precision. Nothing larger than one piece is built, so N x S x C numbers never meet in memory.

Source: Freeman, "Elementary Applied Statistics", 1965 (variation ratio); Houlsby et al., "Bayesian Active Learning for
Classification and Preference Learning", 2011 (mutual information); Kampffmeyer et al., CVPR Workshops 2016 (mean
standard deviation). All three as reviewed in Gal, Islam & Ghahramani, ICML 2017, section 4.
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.blocks import Computed, finish_block
from poolwise.kernels.scores import SMALLEST_PROB, by_pieces
from poolwise.types import Array, FloatArray, Rows


class MeanProbs(Computed):
    """(N, C) probabilities computed when they are read: the mean over S samples.

    Parameters
    ----------
    prob_samples : (N, S, C) rows
    """

    source_name = "prob_samples"

    def __init__(self, prob_samples: Rows) -> None:
        self.source = prob_samples
        self.shape = (len(prob_samples), prob_samples.shape[2])

    def finish(self, block: Array) -> Array:
        """Compute (n, C) means of (n, S, C) probabilities."""
        return mean_probs(finish_block(self.source, block))


def mean_probs(samples: FloatArray) -> FloatArray:
    """Return the mean over the samples, (n, C)."""
    return np.asarray(samples.mean(axis=1))


def _plogp(p: FloatArray) -> FloatArray:
    logs = np.maximum(p, p.dtype.type(SMALLEST_PROB))
    np.log(logs, out=logs)
    logs *= p
    return logs


def mutual_information(samples: FloatArray) -> FloatArray:
    """Return H(mean of p) - mean of H(p) in nats, (n,) in [0, log min(S, C)]."""

    def piece(p: FloatArray) -> FloatArray:
        expected = _plogp(p).sum(axis=2).mean(axis=1)  # minus the mean entropy
        return np.asarray(np.maximum(expected - _plogp(mean_probs(p)).sum(axis=1), 0))

    return by_pieces(piece, samples)


def mean_std(samples: FloatArray) -> FloatArray:
    """Return the standard deviation over the samples, averaged over the classes, (n,) in [0, 1/2]."""
    return by_pieces(lambda p: np.asarray(p.std(axis=1).mean(axis=1)), samples)


def variation_ratio(samples: FloatArray) -> FloatArray:
    """Return 1 - (votes for the class with most votes) / S, (n,) in [0, 1 - 1/S]; a vote goes to the first maximum."""
    n_classes = samples.shape[2]

    def piece(p: FloatArray) -> FloatArray:
        votes = p.argmax(axis=2) + n_classes * np.arange(len(p))[:, None]  # (n, S)
        counts = np.bincount(votes.ravel(), minlength=n_classes * len(p)).reshape(len(p), n_classes)
        return np.asarray(1 - counts.max(axis=1) / p.shape[1], dtype=p.dtype)

    return by_pieces(piece, samples)
