"""The pools of the cases: rows from a generator, a head over them, and what follows from both."""

from __future__ import annotations

import numpy as np

from benchmarks.speed.generators import isotropic, structured
from poolwise.chance import rng_for
from poolwise.kernels.blocks import softmax_in_place
from poolwise.types import FloatArray

GENERATORS = {"structured": structured, "isotropic": isotropic}


def rows(data: str, n: int, d: int, *, seed: int = 0) -> FloatArray:
    """Make (n, d) float32 rows."""
    return GENERATORS[data](n, d, seed=seed)


def head(x: FloatArray, n_classes: int, *, seed: int = 0, sharpness: float = 35.0) -> tuple[FloatArray, FloatArray]:
    """Make a linear head whose classes are prototypes: rows drawn from the pool, seen from its mean.

    The top probability of its softmax has a mean of about 0.7, as in a trained model.

    Returns
    -------
    weight (C, D), bias (C,) float32; logits = x @ weight.T + bias.
    """
    sample = x[:8192].astype(np.float32)
    mean = sample.mean(axis=0)
    chosen = rng_for(seed, "prototypes").choice(len(sample), n_classes, replace=len(sample) < n_classes)
    weight = sample[chosen] - mean + 1e-3 * rng_for(seed, "apart").normal(size=(n_classes, x.shape[1]))
    weight /= np.linalg.norm(weight, axis=1, keepdims=True)
    spread = np.linalg.norm(sample - mean, axis=1).mean()
    weight *= sharpness / spread
    return weight.astype(np.float32), (-weight @ mean).astype(np.float32)


def probabilities(data: str, n: int, n_classes: int, *, seed: int = 0) -> FloatArray:
    """Make (n, C) probabilities without rows: of a head over 64-wide structured rows, or of Gaussian logits."""
    if data == "structured":
        x = structured(n, 64, seed=seed)
        weight, bias = head(x, n_classes, seed=seed)
        return softmax_in_place(x @ weight.T + bias)
    return softmax_in_place(3 * isotropic(n, n_classes, seed=seed))
