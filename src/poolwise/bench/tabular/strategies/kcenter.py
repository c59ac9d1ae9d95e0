"""K-center greedy (Core-Set): the item farthest from everything labeled.

Source: Sener & Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018,
Algorithm 1, on the scaled features.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from poolwise.bench.tabular.registry import State, tabular
from poolwise.types import IndexArray


@tabular("kcenter", family="diversity", paper="arXiv:1708.00489", column="Core-Set", cost="instant")
def kcenter(state: State) -> IndexArray:
    """Repeatedly take the item farthest from the labeled items and from those taken before.

    Notes
    -----
    Time O(U d) a query: distances to the nearest labeled item are kept between queries.
    """
    gap = state.memo.get("gap")  # (n_train,) distance to the nearest labeled item
    if gap is None:
        gap = cdist(state.x, state.x[state.labeled]).min(axis=1)
    gap[state.labeled] = -1.0  # below every distance: never taken again
    batch = np.empty(state.batch_size, dtype=np.int64)
    for i in range(state.batch_size):
        batch[i] = gap.argmax()  # the first of equals is the smallest position
        np.minimum(gap, cdist(state.x, state.x[batch[i : i + 1]])[:, 0], out=gap)
        gap[batch[: i + 1]] = -1.0
    state.memo["gap"] = gap
    return batch
