"""How answers are compared."""

from __future__ import annotations

import numpy as np

from benchmarks.speed.case import Check
from poolwise.types import FloatArray, IndexArray

SAME_PICKS = 0.995
"""Share of picks that must be the same; float32 near-ties may swap the others."""


def same_picks(ours: IndexArray, theirs: IndexArray) -> Check:
    """The same rows, in any order, for `SAME_PICKS` of them; the peer may have picked only the first few."""
    first = ours[: len(theirs)]
    share = len(np.intersect1d(first, theirs)) / max(len(theirs), 1)
    return Check(share >= SAME_PICKS and len(np.unique(ours)) == len(ours), f"{share:.2%} of the same picks")


def same_order(ours: IndexArray, theirs: IndexArray) -> Check:
    """The same rows in the same order."""
    same = int(np.sum(ours[: len(theirs)] == theirs)) if len(ours) >= len(theirs) else 0
    return Check(same == len(theirs), f"{same} of {len(theirs)} picks in the same order")


def close(ours: FloatArray, theirs: FloatArray, relative: float, what: str) -> Check:
    """Values within a relative difference."""
    worst = float((np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-12)).max())
    return Check(worst <= relative, f"{what} within {worst:.1e}")


def at_least(ours: float, theirs: float, share: float, what: str) -> Check:
    """A quality that is better when larger, no worse than `share` of the peer's."""
    return Check(ours >= share * theirs, f"{what} {ours / theirs:.4f} of the peer's")


def both(*checks: Check) -> Check:
    """All of several checks."""
    return Check(all(c.passed for c in checks), "; ".join(c.text for c in checks))
