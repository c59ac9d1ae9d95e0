"""Unbiased risk from items that were drawn one by one with known, unequal probabilities.

Source: Farquhar, Gal & Rainforth, "On Statistical Bias in Active Learning", ICLR 2021, equation 3 (R_LURE).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolwise.errors import InputError, ShapeError


def lure_weights(probabilities: Any, n_items: int) -> NDArray[np.float64]:
    """Weigh draws so that the weighted mean of any loss is unbiased for the mean over all items.

        v_m = 1 + (N - M) / (N - m) * (1 / ((N - m + 1) q_m) - 1)

    Parameters
    ----------
    probabilities : (M,) q_m, with which draw m was made among the N - m + 1 items that were left
    n_items : N >= M

    Returns
    -------
    (M,) weights v; all 1 for uniform draws, and for M = N.

    Raises
    ------
    InputError
        If a probability is not in (0, 1], or there are more draws than items.
    """
    q = np.asarray(probabilities, dtype=np.float64)
    if q.ndim != 1 or not ((q > 0) & (q <= 1)).all() or len(q) > n_items:
        raise InputError(f"expected at most {n_items} probabilities above 0 and up to 1; got {q.tolist()[:8]}.")
    m = np.arange(1, len(q) + 1)
    rest = np.maximum(n_items - m, 1)  # the last item of all has no others left; its factor N - M is 0
    return np.asarray(1 + (n_items - len(q)) / rest * (1 / ((n_items - m + 1) * q) - 1))


def lure_mean(values: Any, probabilities: Any, n_items: int) -> float:
    """Estimate the mean of a loss over all N items from M draws: (1 / M) sum_m v_m loss_m."""
    loss, weights = np.asarray(values, dtype=np.float64), lure_weights(probabilities, n_items)
    if loss.shape != weights.shape or not len(loss):
        raise ShapeError(f"values have shape {loss.shape} and probabilities {weights.shape}; one of each per draw.")
    if not np.isfinite(loss).all():
        raise InputError(f"values must be finite; draw {int(np.flatnonzero(~np.isfinite(loss))[0])} is not. Repair it.")
    return float((weights * loss).mean())
