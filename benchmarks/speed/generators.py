"""Two made-up pools for speed tests: one that looks like deep features, one that has no structure at all.

Both are made in blocks of `BLOCK` rows, each from its own random stream, so a pool of n rows is a prefix of a
pool of more rows, and a pool larger than memory can be written straight into a memory map.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from poolwise.chance import rng_for
from poolwise.types import FloatArray

BLOCK = 8192
N_CLASSES = 100
N_LATENT = 64


def structured(n: int, d: int, *, seed: int = 0, out: FloatArray | None = None) -> FloatArray:
    """Make features like those of a ReLU network: clusters, a decaying spectrum, rows of unequal length.

    100 classes in 64 latent dimensions whose scale falls as a power law (exponent -0.5); class means spread
    as wide as the classes; random projection to d, ReLU, and a log-normal (sigma 0.3) length per row.

    Parameters
    ----------
    n, d : rows and columns
    seed : every number follows from it
    out : (n, d) float array or writable memory map to fill; default a new float32 array

    Returns
    -------
    (n, d), `out` if given.
    """
    rng = rng_for(seed, "structured pool")
    scale = np.arange(1, N_LATENT + 1) ** -0.5
    means = rng.normal(size=(N_CLASSES, N_LATENT)) * scale
    projection = (rng.normal(size=(N_LATENT, d)) / np.sqrt(N_LATENT)).astype(np.float32)

    def block(rows: int, stream: np.random.Generator) -> FloatArray:
        classes = stream.integers(N_CLASSES, size=rows)
        latent = means[classes] + stream.normal(size=(rows, N_LATENT)) * scale
        x = np.maximum(latent.astype(np.float32) @ projection, 0)
        x *= stream.lognormal(0.0, 0.3, size=(rows, 1)).astype(np.float32)
        return x

    return _fill(n, d, seed, out, "structured", block)


def isotropic(n: int, d: int, *, seed: int = 0, out: FloatArray | None = None) -> FloatArray:
    """Make standard Gaussian rows, the worst case for every bound; parameters as for `structured`."""

    def block(rows: int, stream: np.random.Generator) -> FloatArray:
        return stream.standard_normal((rows, d), dtype=np.float32)

    return _fill(n, d, seed, out, "isotropic", block)


def _fill(
    n: int,
    d: int,
    seed: int,
    out: FloatArray | None,
    name: str,
    block: Callable[[int, np.random.Generator], FloatArray],
) -> FloatArray:
    filled: FloatArray = np.empty((n, d), dtype=np.float32) if out is None else out
    for number, start in enumerate(range(0, n, BLOCK)):
        filled[start : start + BLOCK] = block(BLOCK, rng_for(seed, name, number))[: n - start]
    return filled
