"""Query strategies, one per file; importing this package registers them all."""

from poolwise.strategies import (
    balanced_random,
    base,
    coreset,
    entropy,
    least_confidence,
    margin,
    mase,
    random,
)

__all__ = [
    "balanced_random",
    "base",
    "coreset",
    "entropy",
    "least_confidence",
    "margin",
    "mase",
    "random",
]
