"""Top b as a smooth function: gates between 0 and 1 that sum to b exactly, and their exact derivative.

Source: our own, in place of the Gaussian mixture, threshold and count penalty of Wang et al., "AutoAL", ICML 2025,
section 3.3; the derivative follows from differentiating sum_j gate_j = b.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from poolwise.types import FloatArray

HALVINGS = 200


def relaxed_top(scores: FloatArray, count: float, temperature: float) -> FloatArray:
    """Gates sigmoid((score - tau) / temperature) with tau such that they sum to `count`.

    Parameters
    ----------
    scores : (n,) finite
    count : 0 < count; n or more opens all gates
    temperature : > 0; towards 0 the gates become those of the `count` largest scores

    Returns
    -------
    (n,) float64 in [0, 1].
    """
    scores = scores.astype(np.float64)
    if count >= len(scores):
        return np.ones(len(scores))
    low = float(scores.min()) - 800 * temperature  # all gates open
    high = float(scores.max()) + 800 * temperature  # all gates closed
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if expit((scores - middle) / temperature).sum() > count:
            low = middle
        else:
            high = middle
    gates: FloatArray = expit((scores - 0.5 * (low + high)) / temperature)
    return gates


def pull_back(gates: FloatArray, gradient: FloatArray, temperature: float) -> FloatArray:
    """Turn the derivative by the gates into that by the scores.

    Parameters
    ----------
    gates : (n,) from `relaxed_top`
    gradient : (n,) derivative of some loss by each gate
    temperature : the same as of the gates

    Returns
    -------
    (n,) derivative of the loss by each score; it sums to 0, as raising all scores changes nothing.
    """
    slope = gates * (1 - gates)
    total = float(slope.sum())
    if total <= 0:
        return np.zeros_like(gates)
    out: FloatArray = slope * (gradient - float(slope @ gradient) / total) / temperature
    return out
