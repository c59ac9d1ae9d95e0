"""Quadratic programmes over a capped simplex: 0 <= a <= 1, sum a = b."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MAX_STEPS = 200_000


def solve_capped(h: Floats, q: Floats, total: int, tolerance: float = 1e-9) -> Floats:
    """Minimise a' h a / 2 + q . a over 0 <= a <= 1, sum a = total.

    Parameters
    ----------
    h : (n, n) symmetric, positive semi-definite
    q : (n,)
    total : whole number between 1 and n
    tolerance : largest violation of the optimality conditions at the end, relative to the largest entry of h

    Returns
    -------
    (n,) float64.

    Notes
    -----
    Moves mass between two entries a step, those that promise the largest decrease; O(n) each, at most 200,000 steps.
    Solutions have few entries between the bounds, which is where such steps are fast.
    """
    a = np.zeros(len(q))
    a[np.argsort(q, kind="stable")[:total]] = 1.0
    slope = h @ a + q
    diagonal = np.diag(h)
    enough = tolerance * max(float(np.abs(h).max()), 1e-300)
    for _ in range(MAX_STEPS):
        i = int(np.where(a < 1, slope, np.inf).argmin())
        gain = np.where(a > 0, slope - slope[i], 0.0)
        if not gain.max() > enough:
            break
        bend = np.maximum(diagonal[i] + diagonal - 2 * h[i], 1e-12)
        j = int(np.where(gain > 0, gain**2 / bend, -np.inf).argmax())
        step = min(gain[j] / bend[j], 1 - a[i], a[j])
        a[i] = 1.0 if step == 1 - a[i] else a[i] + step
        a[j] = 0.0 if step == a[j] else a[j] - step
        slope += step * (h[i] - h[j])
    return a
