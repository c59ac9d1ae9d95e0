"""Query strategies, one per file; importing this package registers them all."""

from poolwise.strategies import (
    margin,
    random,
)

__all__ = [
    "margin",
    "random",
]
