"""Class shares of a pool whose classes are not distributed as those of the labeled items.

Source: Saerens, Latinne & Decaestecker, "Adjusting the Outputs of a Classifier to New a Priori Probabilities: A Simple
Procedure", Neural Computation 14, 2002, equation 2.4.
Differs from the paper: shares are smoothed by one imagined item a class, so that no class dies out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from poolwise.types import FloatArray

ITERATIONS = 50


def pool_shares(probs: FloatArray, trained_on: ArrayLike) -> NDArray[np.float64]:
    """Estimate the class shares of unlabeled items from the predictions of a head trained on other shares.

    Parameters
    ----------
    probs : (n, C) predictions
    trained_on : (C,) labeled items of each class

    Returns
    -------
    (C,) float64, sums to 1; near the training shares if n = 0.

    Notes
    -----
    At most 50 iterations of O(n C).
    """
    counts = np.asarray(trained_on, dtype=np.float64)
    old: NDArray[np.float64] = (counts + 1) / (counts + 1).sum()
    p = np.asarray(probs, dtype=np.float64)
    new: NDArray[np.float64] = old.copy()
    for _ in range(ITERATIONS):
        shifted = p * (new / old)
        shifted /= np.maximum(shifted.sum(axis=1, keepdims=True), 1e-300)
        update: NDArray[np.float64] = np.asarray((shifted.sum(axis=0) + 1) / (len(p) + len(old)))
        if np.abs(update - new).sum() < 1e-6:
            return update
        new = update
    return new


def shifted_probs(probs: FloatArray, ratio: FloatArray) -> NDArray[np.float64]:
    """Multiply probabilities by (C,) ratios of shares and normalise rows again."""
    out = np.asarray(probs, dtype=np.float64) * ratio
    total = out.sum(axis=1, keepdims=True)
    return np.asarray(out / np.where(total > 0, total, 1))
