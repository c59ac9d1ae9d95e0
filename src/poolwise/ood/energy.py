"""Energy: minus the log of the summed exponentials of the logits.

Source: Liu, Wang, Owens & Li, "Energy-based Out-of-distribution Detection", NeurIPS 2020, equation 4.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import OptionError
from poolwise.kernels.sampling import stream_scores
from poolwise.kernels.scores import row_max
from poolwise.registry import detector
from poolwise.types import FloatArray, IndexArray, Rows


@detector("energy", paper="arXiv:2010.03759", use_when="A trained head with raw logits; probabilities have lost it.")
def energy(logits: Rows, items: IndexArray, *, temperature: float = 1.0) -> FloatArray:
    """Score items by minus temperature times log sum exp of their logits over the temperature.

    Parameters
    ----------
    logits : (N, C) unnormalised class scores; derived from probabilities the energy is 0 for all
    items : (n,) int64 pool indices, sorted
    temperature : > 0

    Returns
    -------
    (n,) float64.

    Raises
    ------
    OptionError
        If the temperature is not above 0.
    """
    if not temperature > 0:
        raise OptionError(f"energy: temperature must be above 0; got {temperature}.")

    def score(logits: FloatArray) -> FloatArray:
        largest = row_max(logits)
        total = np.exp((logits - largest[:, None]) / temperature).sum(axis=1)
        return np.asarray(-largest - temperature * np.log(total))

    return stream_scores(score, {"logits": logits}, items)
