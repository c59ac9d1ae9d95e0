"""Gaussians with one covariance for all classes, and squared Mahalanobis distances as one matrix product.

Source: Lee, Lee, Lee & Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
Attacks", NeurIPS 2018; Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
Journal of Multivariate Analysis 2004 (shrinkage).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from poolwise.kernels.blocks import iter_blocks
from poolwise.kernels.distances import sq_norms
from poolwise.types import FloatArray, IndexArray, Rows

FEW = 5
"""With fewer rows than this times their width the covariance is shrunk."""
RIDGE = 1e-6
"""Added to the diagonal otherwise, as a share of its mean; shrinkage is at least as strong."""


@dataclass(frozen=True, slots=True)
class Gaussians:
    """Class means and a common covariance, in coordinates in which the covariance is the identity.

    origin : (D,); whiten : (D, D) with (x - origin) @ whiten white; means : (K, D) whitened
    """

    origin: FloatArray
    whiten: FloatArray
    means: FloatArray

    def sq_distances(self, x: FloatArray) -> FloatArray:
        """Squared Mahalanobis distances (n, K) of rows (n, D) float64."""
        white = (x - self.origin) @ self.whiten
        d = sq_norms(white)[:, None] + sq_norms(self.means) - 2 * white @ self.means.T
        return np.maximum(d, 0)

    def against_last(self, rows: Rows, indices: IndexArray) -> FloatArray:
        """Squared distance (n,) to the nearest class but the last, minus that to the last; K >= 2."""
        out = np.empty(len(indices))
        for start, block in iter_blocks(rows, indices, dtype=np.float64):
            d = self.sq_distances(block)
            out[start : start + len(block)] = d[:, :-1].min(axis=1) - d[:, -1]
        return out

    def nearest(self, rows: Rows, indices: IndexArray) -> FloatArray:
        """Squared Mahalanobis distance (n,) of pool rows to the nearest class."""
        out = np.empty(len(indices))
        for start, block in iter_blocks(rows, indices, dtype=np.float64):
            out[start : start + len(block)] = self.sq_distances(block).min(axis=1)
        return out


def fit_gaussians(x: FloatArray, y: IndexArray) -> Gaussians:
    """Fit class means and the pooled maximum-likelihood covariance.

    Parameters
    ----------
    x : (n, D) float, n >= 1
    y : (n,) class numbers; a class with one row has that row as its mean and adds nothing to the covariance

    Notes
    -----
    Ledoit-Wolf shrinkage where n < 5 D (its share never below 1e-6), else 1e-6 of the mean variance on the diagonal.
    Without any spread the covariance is the identity.
    """
    x = np.asarray(x, dtype=np.float64)
    classes, which = np.unique(y, return_inverse=True)
    origin = x.mean(axis=0)
    x = x - origin
    means = np.array([x[which == c].mean(axis=0) for c in range(len(classes))])
    whiten = whitening(x - means[which])
    return Gaussians(origin, whiten, means @ whiten)


def whitening(residuals: FloatArray) -> FloatArray:
    """Matrix (D, D) that makes the covariance of centred rows (n, D), regularised, the identity."""
    n, width = residuals.shape
    s = residuals.T @ residuals / n
    mean = float(np.trace(s)) / width
    if mean <= 0:
        return np.eye(width)
    share = max(shrinkage(residuals, s), RIDGE) if n < FEW * width else 0.0
    s *= 1 - share
    s[np.diag_indices(width)] += (share or RIDGE) * mean
    factor = cholesky(s, lower=True)
    return np.asarray(solve_triangular(factor, np.eye(width), lower=True).T)


def shrinkage(residuals: FloatArray, covariance: FloatArray) -> float:
    """Ledoit-Wolf share of the scaled identity, in [0, 1]."""
    n, width = residuals.shape
    mean = float(np.trace(covariance)) / width
    total = float(np.square(covariance).sum())
    spread = (total - width * mean**2) / width
    noise = (float(np.square(sq_norms(residuals)).mean()) - total) / (n * width)
    return float(np.clip(noise / spread, 0, 1)) if spread > 0 else 1.0
