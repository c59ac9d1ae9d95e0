"""Strategies of the tabular benchmark, one family per file."""

from poolwise.bench.tabular.strategies import (
    kcenter,
    random,
    us,
)

__all__ = [
    "kcenter",
    "random",
    "us",
]
