"""poolwise: choose which items of a large unlabeled pool to label next, and prove that it paid."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import poolwise.auto
import poolwise.engine  # noqa: F401  (registers the engines)
from poolwise.errors import PoolwiseError
from poolwise.query import select
from poolwise.registry import acquisition, strategy
from poolwise.types import NOT_OF_INTEREST, SKIP, UNLABELED, Annotation, Item, Picks, PoolState, Selection

if TYPE_CHECKING:
    from poolwise import bench, stats
    from poolwise.pool import Pool

__version__ = "0.1.0"

__all__ = [
    "NOT_OF_INTEREST",
    "SKIP",
    "UNLABELED",
    "Annotation",
    "Item",
    "Picks",
    "Pool",
    "PoolState",
    "PoolwiseError",
    "Selection",
    "acquisition",
    "bench",
    "select",
    "stats",
    "strategy",
]

_LATER = {"Pool": "poolwise.pool", "bench": "poolwise.bench", "stats": "poolwise.stats"}
"""Names that are imported when they are first used, because they bring the whole system along."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'poolwise' has no attribute {name!r}")
    module = importlib.import_module(_LATER[name])
    return getattr(module, name) if name == "Pool" else module
