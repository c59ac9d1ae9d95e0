"""Random: the baseline, in the order that the split has shuffled.

Source: the `uniform` sampler of google/active-learning as run by Lu, Li & Lin, arXiv 2306.08954.
"""

from __future__ import annotations

from poolwise.bench.tabular.registry import State, tabular
from poolwise.types import IndexArray


@tabular("random", family="baseline", paper="none", column="Random", cost="instant")
def random(state: State) -> IndexArray:
    """Take the first unlabeled positions: the split has already shuffled the train part."""
    return state.unlabeled[: state.batch_size]
