"""Query strategies, one per file; importing this package registers them all."""

from poolwise.strategies import (
    coreset,
    margin,
    random,
)

__all__ = [
    "coreset",
    "margin",
    "random",
]
