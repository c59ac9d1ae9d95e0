"""BASE: for each class in turn, query the items closest to its boundary.

Source: Emam, Chu, Chiang, Czaja, Leapman, Goldblum & Goldstein, "Active Learning at the ImageNet Scale",
arXiv:2111.12880 (balanced selection, "BASE"; class order and distances as in its public code).
Differs from the paper: the distance of an item to another class is the distance to the hyperplane between
it and the predicted class, as in the code; it is a lower bound of the distance to the other class's cell.
The selection is streamed from bounded lists per class and equals the full computation. The options `order`
and `quota` are additions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from poolwise.errors import ArrayMissingError, ShapeError
from poolwise.kernels.blocks import check_block, iter_blocks, load_rows, stored
from poolwise.kernels.quotas import equal_quotas, proportional_quotas, water_fill
from poolwise.kernels.sampling import Shortlists, fill, row_blocks, sampled_tolerance
from poolwise.kernels.scores import Boundaries
from poolwise.progress import task
from poolwise.registry import strategy
from poolwise.types import Array, FloatArray, IndexArray, Picks, Rows

DEPTH = 8
"""List length in quotas. Classes need twice their quota on average, six times at most (C = 50, B = 275, on the
reference implementation's data); an exhausted list costs one more pass."""

SETTLED = 4
"""How much of each list, in quotas, is computed in float64 at first; the rest only if it is needed."""

LOGIT_DOUBT = 1e-5
"""Logits closer than this, relative to the largest, are compared in float64."""


@strategy(
    "base",
    family="balance",
    paper="arXiv:2111.12880",
    cost="one pass",
    streams=True,
    use_when="Many classes, a linear head on good embeddings, and a wish for balanced batches.",
)
def base(
    logits: Rows,
    head_weight: Array,
    labeled: IndexArray,
    unlabeled: IndexArray,
    labels: Array | None = None,
    *,
    batch_size: int,
    rng: np.random.Generator,
    order: Literal["ascending", "rotate", "draft"] = "ascending",
    quota: Literal["equal", "expected"] = "equal",
) -> Picks:
    """Give every class a quota, and let each take the items closest to its boundary.

    Parameters
    ----------
    logits : (N, C) float, logits of the linear head
    head_weight : (C, D) float
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted
    labels : (N,) int64, -1 where unlabeled; only for quota="expected"
    batch_size : B, 1 <= B <= U
    rng : draws the first class for order="rotate"
    order : "ascending": class 0 takes all its items first, as in the paper's code; "rotate": the same from a random
        class on; "draft": classes take one item each in turn, so that no class has the first choice of everything
    quota : "equal": B / C each; "expected": more for classes that have fewer labels, through the confusion of
        predicted and true classes on the labeled items

    Returns
    -------
    Picks, class by class in the order of choice. Scores are minus the distance; components are `distance`, the
    `slot` (class whose quota the item fills), the `predicted` class and its nearest `rival`.

    Raises
    ------
    ArrayMissingError
        If quota="expected" and nothing is labeled.

    Notes
    -----
    Time O(U C) after the logits; memory one block and O(B + C). Classes with equal weights have no boundary between
    them: the note `equal_class_pairs` counts such pairs. With B < C only the first B classes in order get an item.
    """
    part = Part(logits, head_weight, unlabeled)
    return choose_and_explain(
        part.boundaries, part.open, logits, labeled, unlabeled, labels, batch_size, rng, order=order, quota=quota
    )


def choose_and_explain(
    boundaries: Boundaries,
    open_lists: Callable[[IndexArray, IndexArray, IndexArray], Lists],
    logits: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    labels: Array | None,
    batch_size: int,
    rng: np.random.Generator,
    *,
    order: Literal["ascending", "rotate", "draft"],
    quota: Literal["equal", "expected"],
) -> Picks:
    """Carry out `base` with lists from wherever the rows are; of `logits` only labeled and picked rows are read."""
    n_classes = boundaries.n_classes
    first = int(rng.integers(n_classes)) if order == "rotate" else 0
    classes = np.roll(np.arange(n_classes), -first)
    quotas = np.empty(n_classes, dtype=np.int64)
    if quota == "expected":
        quotas[:] = expected_quotas(logits, labels, labeled, batch_size)
    else:
        quotas[classes] = equal_quotas(batch_size, n_classes)
    turns = _turns(classes, quotas, draft=order == "draft")
    indices, distances, n_passes = choose(turns, n_classes, len(unlabeled), open_lists)
    _, predicted, rival = boundaries.distances(load_rows(logits, indices, np.float64))
    notes = {"passes": n_passes}
    if boundaries.equal_pairs:
        notes["equal_class_pairs"] = boundaries.equal_pairs
    return Picks(
        indices,
        -distances,
        components={"distance": distances, "slot": turns, "predicted": predicted, "rival": rival},
        notes=notes,
    )


def expected_quotas(logits: Rows, labels: Array | None, labeled: IndexArray, batch_size: int) -> IndexArray:
    """Share a batch so that the true classes of all labeled items are expected to become as equal as possible.

    An item taken for class c is expected to be of class t with the probability that a labeled item predicted as c
    is of class t. With P that table and w the water-filling shares that level the labels, the quotas x >= 0 bring
    P' x closest to w (Kullback-Leibler, by multiplicative updates, which keep the sum).
    The head has usually been fitted to those same items, so that it confuses them less than others.

    Parameters
    ----------
    logits : (N, C) float
    labels : (N,) int64, -1 where unlabeled
    labeled : (L,) int64 pool indices
    batch_size : B

    Returns
    -------
    (C,) int64, sums to B.

    Raises
    ------
    ArrayMissingError
        If nothing is labeled.
    ShapeError
        If a label is not one of the C classes.
    """
    n_classes = logits.shape[1]
    if labels is None or not len(labeled):
        raise ArrayMissingError(
            "base with quota='expected' needs labels (N,) of some labeled items; got none. "
            "Supply labels=..., or use quota='equal' in the first round."
        )
    true = np.asarray(labels)[labeled]
    if true.max() >= n_classes:
        raise ShapeError(f"labels go up to class {true.max()}; logits has {n_classes} classes. They must agree.")
    table = np.eye(n_classes)  # one imagined correct item a class: classes never predicted stay themselves
    for start, block in iter_blocks(logits, labeled):
        np.add.at(table, (block.argmax(axis=1), true[start : start + len(block)]), 1)
    table /= table.sum(axis=1, keepdims=True)  # (C predicted, C true)
    counts = np.bincount(true, minlength=n_classes)
    wanted = water_fill(batch_size, np.full(n_classes, batch_size), counts)
    shares = np.full(n_classes, batch_size / n_classes)
    for _ in range(100):
        shares *= table @ (wanted / np.maximum(shares @ table, 1e-12))
    return proportional_quotas(batch_size, shares)


def _turns(classes: IndexArray, quotas: IndexArray, *, draft: bool) -> IndexArray:
    """List which class chooses at each turn, (B,)."""
    turns = np.repeat(classes, quotas[classes])
    if draft:
        lap = np.concatenate([np.arange(q) for q in quotas[classes]])
        turns = turns[np.argsort(lap, kind="stable")]
    return turns


def choose(
    turns: IndexArray,
    n_classes: int,
    n_items: int,
    open_lists: Callable[[IndexArray, IndexArray, IndexArray], Lists],
) -> tuple[IndexArray, NDArray[np.float64], int]:
    """Let the classes choose in the order of `turns`; nobody takes an item twice.

    Parameters
    ----------
    turns : (B,) int64, the class that chooses
    n_items : U
    open_lists : a pass over the pool, as `Part.open`

    Returns
    -------
    (B,) pool indices, (B,) distances, and the number of passes over the pool. A second pass is needed only if
    earlier classes have taken all of a later class's list.
    """
    taken: dict[int, float] = {}
    depth, passes = DEPTH, 0
    while len(taken) < len(turns):
        need = np.bincount(turns[len(taken) :], minlength=n_classes)
        depths = np.where(need > 0, np.minimum(depth * need + 16, n_items - len(taken)), 0)
        gone = np.fromiter(taken, dtype=np.int64, count=len(taken))
        _take_turns(turns, taken, open_lists(gone, depths, SETTLED * need), SETTLED * need)
        depth, passes = 2 * depth, passes + 1
    indices = np.fromiter(taken, dtype=np.int64, count=len(turns))
    return indices, np.fromiter(taken.values(), dtype=np.float64, count=len(turns)), passes


def _take_turns(turns: IndexArray, taken: dict[int, float], lists: Lists, settled: IndexArray) -> None:
    """Let classes choose until all have, or until the list of the next one is used up."""
    queues: dict[int, Iterator[tuple[int, float]]] = {}
    for c in turns[len(taken) :].tolist():
        while True:
            if c not in queues:
                indices, values = lists.of(c)
                queues[c] = zip(indices.tolist(), values.tolist(), strict=True)
            pick = next(((i, d) for i, d in queues[c] if i not in taken), None)
            if pick is not None:
                taken[pick[0]] = pick[1]
                break
            if settled[c] >= lists.depths[c]:
                return
            settled[c] *= 2
            lists.settle(settled)
            if not lists.trusted:
                return
            del queues[c]


class Lists(Protocol):
    """The items closest to each class, as `Shortlists` keeps them for one part of a pool or a team for all parts."""

    depths: IndexArray
    trusted: bool

    def settle(self, depths: IndexArray) -> None: ...
    def of(self, slot: int) -> tuple[IndexArray, NDArray[np.float64]]: ...


class Part:
    """Finds, in passes over the logits, the items closest to each class among the unlabeled rows of one part.

    Parameters
    ----------
    logits : (N, C), the whole pool; only the rows of this part are read
    head_weight : (C, D)
    unlabeled : (u,) int64 pool indices of the part, sorted
    """

    def __init__(self, logits: Rows, head_weight: Array, unlabeled: IndexArray) -> None:
        self.logits, self.unlabeled = logits, unlabeled
        self.boundaries = Boundaries(np.asarray(head_weight))

    def open(self, taken: IndexArray, depths: IndexArray, first: IndexArray) -> Shortlists:
        """Read all rows that are not taken; list `depths` (C,) of them, and settle the `first` (C,) of each list."""
        free = self.unlabeled[~np.isin(self.unlabeled, taken)]
        return self._lists(free, np.minimum(depths, len(free)), first)

    def _lists(self, free: IndexArray, depths: IndexArray, first: IndexArray) -> Shortlists:
        sample = free[:: len(free) // 64 + 1]
        rough = load_rows(self.logits, sample)
        check_block(stored(self.logits, "logits")[1], rough, sample)
        sure, _, _ = self.boundaries.distances(load_rows(self.logits, sample, np.float64))
        doubt = LOGIT_DOUBT * float(np.abs(rough).max(initial=0))
        slack = sampled_tolerance(self._rough(rough, sample, doubt), sure)

        def offer_all(lists: Shortlists) -> None:
            with task("scoring", len(free)) as work:
                for _, pool, blocks, local in row_blocks({"logits": self.logits}, free, np.float32):
                    lists.offer(pool, self._rough(blocks["logits"][local], pool, doubt))
                    work.advance(len(pool))

        return fill(offer_all, depths, self._exact, slack, first)

    def _rough(self, logits: FloatArray, pool: IndexArray, doubt: float) -> FloatArray:
        """Distances in float32; rows whose predicted class is in doubt are computed again in float64."""
        distances, predicted, _ = self.boundaries.distances(logits)  # (n, C)
        row = np.arange(len(logits))
        close = np.flatnonzero(distances[row, predicted] <= 2 * doubt * self.boundaries.inverse.max())
        gap = logits[close, predicted[close]][:, None] - logits[close]
        gap[np.arange(len(close)), predicted[close]] = np.inf
        close = close[gap.min(axis=1) <= 2 * doubt] if logits.shape[1] > 1 else close[:0]
        if len(close):
            distances[close] = self.boundaries.distances(load_rows(self.logits, pool[close], np.float64))[0]
        return distances

    def _exact(self, indices: IndexArray, slots: IndexArray) -> NDArray[np.float64]:
        """Distances of (item, class) pairs in float64."""
        items, back = np.unique(indices, return_inverse=True)
        order = np.argsort(back, kind="stable")
        values = np.empty(len(indices))
        for start, block in iter_blocks(self.logits, items, dtype=np.float64):
            distances, _, _ = self.boundaries.distances(block)
            low, high = np.searchsorted(back[order], [start, start + len(block)])
            pairs = order[low:high]
            values[pairs] = distances[back[pairs] - start, slots[pairs]]
        return values
