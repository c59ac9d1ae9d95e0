"""Maximum logit: items that no class claims loudly are taken for foreign.

Source: Hendrycks, Basart, Mazeika, Zou, Kwon, Mostajabi, Steinhardt & Song, "Scaling Out-of-Distribution Detection for
Real-World Settings", ICML 2022.
"""

from __future__ import annotations

import numpy as np

from poolwise.kernels.sampling import stream_scores
from poolwise.kernels.scores import row_max
from poolwise.registry import detector
from poolwise.types import FloatArray, IndexArray, Rows


@detector("max_logit", paper="arXiv:1911.11132", use_when="Many classes that resemble one another, and raw logits.")
def max_logit(logits: Rows, items: IndexArray) -> FloatArray:
    """Score items by minus their largest logit.

    Parameters
    ----------
    logits : (N, C) unnormalised class scores
    items : (n,) int64 pool indices, sorted

    Returns
    -------
    (n,) float64.
    """
    return stream_scores(lambda logits: np.asarray(-row_max(logits)), {"logits": logits}, items)
