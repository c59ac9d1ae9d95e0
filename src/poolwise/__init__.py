"""poolwise: choose which items of a large unlabeled pool to label next, and prove that it paid."""

from poolwise.errors import PoolwiseError
from poolwise.query import select
from poolwise.types import UNLABELED, Annotation, Item, Picks, PoolState, Selection

__version__ = "0.1.0"

__all__ = [
    "UNLABELED",
    "Annotation",
    "Item",
    "Picks",
    "PoolState",
    "PoolwiseError",
    "Selection",
    "select",
]
