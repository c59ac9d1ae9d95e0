"""When further labels stop paying: Cohen's kappa between successive models.

Source: Bloodgood & Vijay-Shanker, "A Method for Stopping Active Learning Based on Stabilizing Predictions and the
Need for User-Adjustable Stopping", CoNLL 2009, sections 3 and 4 (kappa, window of 3, threshold 0.99).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from poolwise.errors import ShapeError


def kappa(a: Any, b: Any) -> float:
    """Measure agreement of two classifications beyond chance: (agreed - chance) / (1 - chance).

    Parameters
    ----------
    a, b : (n,) class numbers of the same items, n >= 1

    Returns
    -------
    1 if they are equal, also if both name a single class; 0 where they agree as often as by chance.
    """
    x, y = np.asarray(a), np.asarray(b)
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise ShapeError(f"classifications have shapes {x.shape} and {y.shape}; expected (n,) twice, n >= 1.")
    classes = np.union1d(x, y)
    chance = sum(float((x == c).mean()) * float((y == c).mean()) for c in classes)
    agreed = float((x == y).mean())
    return 1.0 if agreed == 1.0 else (agreed - chance) / (1 - chance)
