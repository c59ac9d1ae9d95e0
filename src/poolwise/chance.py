"""Random streams: one seed per run, one independent stream per consumer."""

from __future__ import annotations

import hashlib

import numpy as np


def rng_for(seed: int, name: str, *numbers: int) -> np.random.Generator:
    """Derive the stream of one named consumer from the seed of a run.

    Adding a consumer never shifts another one's numbers, because each stream
    depends only on the seed, its own name and its own numbers (round, row block, ...).

    Parameters
    ----------
    seed : 0 <= seed < 2**64
    name : what the numbers are for, such as "query"
    numbers : non-negative integers that tell the streams of one consumer apart

    Returns
    -------
    A counter-based generator (Philox), the same on every machine.
    """
    digest = hashlib.sha256(name.encode()).digest()
    words = np.frombuffer(digest[:16], dtype="<u4").tolist()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words, *numbers])))
