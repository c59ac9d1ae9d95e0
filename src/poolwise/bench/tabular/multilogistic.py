"""Logistic regression for more than two classes by Newton steps, one weight vector for each class.

The objective is that of scikit-learn: |W|^2 / 2 + C * sum of log losses, intercepts not regularised. `logistic` is the
faster form for two classes.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp, softmax

from poolwise.bench.tabular.logistic import MAX_STEPS, TOLERANCE, Floats, damped
from poolwise.types import IndexArray

LOOSE = 1e-8
"""Added to the curvature of the intercepts: all of them may move together without a change."""


def train_softmax(x: Floats, y: IndexArray, n_classes: int, c: float, start: Floats | None = None) -> Floats:
    """Minimise the regularised log loss.

    Parameters
    ----------
    x : (n, d + 1) float64, last column 1
    y : (n,) int64 classes in 0..C-1
    c : weight of the data, > 0
    start : (C, d + 1) weights of a similar model

    Returns
    -------
    (C, d + 1) float64 weights; the gradient is below 1e-8 in every entry, or 100 steps were taken.

    Notes
    -----
    Time O(n C^2 d^2 + C^3 d^3) a step.
    """
    w = np.zeros((n_classes, x.shape[1])) if start is None else start.copy()
    truth = np.eye(n_classes)[y]  # (n, C)
    penalty = np.ones_like(w)
    penalty[:, -1] = 0
    loss = _loss(x, truth, c, w)
    for _ in range(MAX_STEPS):
        p = softmax(x @ w.T, axis=1)  # (n, C)
        gradient = c * (p - truth).T @ x + penalty * w  # (C, d + 1)
        if np.abs(gradient).max() < TOLERANCE:
            break
        curvature = c * fisher_information(x, p) + np.diag(np.maximum(penalty, LOOSE).ravel())
        step = np.linalg.solve(curvature, gradient.ravel()).reshape(w.shape)
        w, loss = damped(w, step, loss, lambda candidate: _loss(x, truth, c, candidate))
    return w


def fisher_information(x: Floats, p: Floats) -> Floats:
    """Sum over rows of (diag(p) - p p') x x', as one matrix over the entries of all weight vectors.

    Parameters
    ----------
    x, p : (n, D), (n, C)

    Returns
    -------
    (C D, C D) float64, class by class.
    """
    n_classes, width = p.shape[1], x.shape[1]
    rows = (p[:, :, None] * x[:, None, :]).reshape(len(x), -1)  # (n, C D)
    out: Floats = -(rows.T @ rows)
    for k in range(n_classes):
        block = slice(k * width, (k + 1) * width)
        out[block, block] += (x.T * p[:, k]) @ x
    return out


def _loss(x: Floats, truth: Floats, c: float, w: Floats) -> float:
    z = x @ w.T
    return float((w[:, :-1] ** 2).sum() / 2 + c * (logsumexp(z, axis=1) - (z * truth).sum(axis=1)).sum())
