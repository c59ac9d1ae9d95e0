"""Quadratic programmes over a capped simplex: 0 <= a <= 1, sum a = b."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MAX_STEPS = 2000


def project_capped(v: Floats, total: float) -> Floats:
    """Nearest point to v with entries in [0, 1] that sum to `total`; 0 <= total <= len(v).

    Notes
    -----
    The point is clip(v - t, 0, 1); its sum falls with t and is linear between the entries of v and v - 1, so t is
    found exactly by searching those 2 n break points. O(n log n).
    """
    breaks = np.sort(np.concatenate([v, v - 1]))  # (2n,) ascending
    low, high = 0, len(breaks) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if np.clip(v - breaks[middle], 0, 1).sum() >= total:
            low = middle
        else:
            high = middle
    sums = [float(np.clip(v - breaks[k], 0, 1).sum()) for k in (low, high)]
    share = (sums[0] - total) / (sums[0] - sums[1]) if sums[0] > sums[1] else 0.0
    nearest: Floats = np.clip(v - (breaks[low] + share * (breaks[high] - breaks[low])), 0, 1)
    return nearest


def solve_capped(h: Floats, q: Floats, total: float, tolerance: float = 1e-9) -> Floats:
    """Minimise a' h a / 2 + q . a over 0 <= a <= 1, sum a = total.

    Parameters
    ----------
    h : (n, n) symmetric, positive semi-definite
    q : (n,)
    tolerance : largest change of an entry in the last step, relative to the step length

    Returns
    -------
    (n,) float64. Accelerated projected gradient with restarts, O(n^2) a step, at most 2000 steps.
    """
    length = 1 / max(float(np.abs(h).sum(axis=1).max()), 1e-12)  # below 1 / largest eigenvalue
    a = np.full(len(q), total / len(q))
    ahead, momentum = a, 1.0
    for _ in range(MAX_STEPS):
        new = project_capped(ahead - length * (h @ ahead + q), total)
        if np.abs(new - ahead).max() < tolerance:
            return new
        if (ahead - new) @ (new - a) > 0:
            momentum = 1.0
        faster = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / faster * (new - a)
        a, momentum = new, faster
    return a
