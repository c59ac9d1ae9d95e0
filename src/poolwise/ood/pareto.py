"""Subsets of fixed size that are Pareto-good for two sums: how useful the items are, and how surely of interest.

Source: Zhan, Dai, Wang, Li, Xiong, Dou & Chan, "Pareto Optimization for Active Learning under Out-of-Distribution
Data Scenarios", TMLR 2023, arXiv:2207.01190 (random search over subsets, early stopping, choice by overlap).
Differs from the paper: subsets drawn at random hardly ever come near the front when the batch is large, so the front
is computed instead: items that cannot matter are dropped, every subset that is best for some weighting of the two sums
is found by top-B selections, and the gaps between neighbours are searched. The random search is there as an option,
with an archive that holds non-dominated subsets only. The exact parts are poolwise's own.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from poolwise.types import BoolArray, FloatArray, IndexArray

MOST_MEMBERS = 4_000_000
"""Positions that all subsets of a front may hold together."""
MOST_SUBSETS = 2000
"""Subsets of a front that are looked for at most."""
MOST_STATES = 100_000
"""Partial subsets that the exact search keeps at most."""
MOST_EXCHANGES = 3000
"""Subsets tried between two neighbours."""
EXACT_ITEMS = 63
"""Items that the exact search can tell apart (bits of a word)."""

CHECK_EVERY = 200
WINDOW = 10
STEADY = 0.01
"""Early stopping as in the authors' code: every 200 draws, over 10 checks, movement of the discrepancy up to 0.01."""


@dataclass(frozen=True, slots=True)
class Front:
    """Subsets none of which is at least as good in both sums as another, the most useful first.

    useful, sure : (F,) float64, the two sums
    members : (F, B) int64 positions, each row ascending
    exact : it is the whole front, not a part of it
    """

    useful: FloatArray
    sure: FloatArray
    members: IndexArray
    exact: bool = False

    def __len__(self) -> int:
        return len(self.useful)


def non_dominated(useful: FloatArray, sure: FloatArray) -> IndexArray:
    """Positions of the points that no other is at least as good as in both and better in one; one of equals.

    Ordered by falling usefulness; of equal points the first stays.
    """
    order = np.lexsort((np.arange(len(useful)), -sure, -useful))
    best = np.maximum.accumulate(sure[order])
    keep = np.ones(len(order), dtype=bool)
    keep[1:] = sure[order][1:] > best[:-1]
    return order[keep]


def matters(useful: FloatArray, sure: FloatArray, count: int) -> BoolArray:
    """Which items have fewer than `count` others at least as good in both; no front needs the rest.

    An item of a subset that has `count` such others can be exchanged for one of them that is not in the subset.
    Of equal items the lower position counts as better. Time O(n log count).
    """
    keep = np.zeros(len(useful), dtype=bool)
    best: list[float] = []  # the `count` largest `sure` so far, as a heap
    order = np.lexsort((np.arange(len(useful)), -sure, -useful))
    for pos, value in zip(order.tolist(), sure[order].tolist(), strict=True):
        if len(best) < count:
            heapq.heappush(best, value)
        elif value > best[0]:
            heapq.heapreplace(best, value)
        else:
            continue
        keep[pos] = True
    return keep


def peel(useful: FloatArray, sure: FloatArray) -> IndexArray:
    """Number of the item-level Pareto front that each item lies on, from 0; equal items share one. O(n log n)."""
    layer = np.empty(len(useful), dtype=np.int64)
    last: list[tuple[float, float]] = []  # per layer its point of largest `sure`, negated so that it ascends
    order = np.lexsort((np.arange(len(useful)), -sure, -useful))
    for pos, u, m in zip(order.tolist(), useful[order].tolist(), sure[order].tolist(), strict=True):
        at = _first_not_dominating(last, (-m, -u))
        layer[pos] = at
        if at == len(last):
            last.append((-m, -u))
        else:
            last[at] = (-m, -u)
    return layer


def _first_not_dominating(last: list[tuple[float, float]], key: tuple[float, float]) -> int:
    at = bisect_right(last, key)
    while at > 0 and last[at - 1] == key:  # equal points do not dominate one another
        at -= 1
    return at


def pareto_front(useful: FloatArray, sure: FloatArray, count: int) -> Front:
    """Find the front of all subsets of `count` items: all of it where that is feasible, else the part that is.

    Parameters
    ----------
    useful, sure : (n,) float, to be summed
    count : 1 <= B <= n

    Returns
    -------
    Front. Not exact: every subset found is on the hull (best for some weighting), or between two such and not
    dominated by any found.

    Notes
    -----
    Time O(n log B), then one top-B selection among the items that matter for each subset found.
    """
    useful, sure = np.asarray(useful, dtype=np.float64), np.asarray(sure, dtype=np.float64)
    kept = np.flatnonzero(matters(useful, sure, count))
    u, m = useful[kept], sure[kept]
    front = exact_front(u, m, count)
    if front is None:
        front = between(u, m, supported_front(u, m, count))
    return Front(front.useful, front.sure, kept[front.members], front.exact)


def exact_front(useful: FloatArray, sure: FloatArray, count: int) -> Front | None:
    """Find the whole front by dynamic programming over items; None if there are too many items or partial subsets.

    A partial subset that another of the same size and the same items to come is at least as good as is dropped.
    """
    n = len(useful)
    if n > EXACT_ITEMS or n < count:
        return None
    empty = (np.zeros(1), np.zeros(1), np.zeros(1, dtype=np.uint64))
    none = (np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.uint64))
    partial = [empty] + [none] * count
    for i in range(n):
        bit = np.uint64(1) << np.uint64(i)
        lowest = max(1, count - (n - 1 - i))
        for size in range(min(i + 1, count), lowest - 1, -1):
            without, before = partial[size], partial[size - 1]
            u = np.concatenate([without[0], before[0] + useful[i]])
            m = np.concatenate([without[1], before[1] + sure[i]])
            bits = np.concatenate([without[2], before[2] | bit])
            keep = non_dominated(u, m)
            partial[size] = (u[keep], m[keep], bits[keep])
        if sum(len(state[0]) for state in partial) > MOST_STATES:
            return None
    bits = partial[count][2]
    inside = (bits[:, None] >> np.arange(n, dtype=np.uint64)) & np.uint64(1)
    return _front(useful, sure, np.nonzero(inside)[1].reshape(len(bits), count), exact=True)


def supported_front(useful: FloatArray, sure: FloatArray, count: int, most: int | None = None) -> Front:
    """Find subsets that maximise w useful + (1 - w) sure for some weight w, both extremes included.

    From two subsets, the weighting that holds them equal shows whether there is a better one between; the widest gap
    first, until no gap is left or `most` subsets are found.
    """
    most = min(MOST_SUBSETS, max(2, MOST_MEMBERS // count)) if most is None else most
    scale_u, scale_m = float(np.abs(useful).max(initial=0)) or 1.0, float(np.abs(sure).max(initial=0)) or 1.0
    u, m = useful / scale_u, sure / scale_m
    first, last = _top(u, m, count), _top(m, u, count)
    found = {_point(u, m, first): first, _point(u, m, last): last}
    gaps = [(0.0, _point(u, m, first), _point(u, m, last))]
    while gaps and len(found) < most:
        _, a, c = heapq.heappop(gaps)
        weight_u, weight_m = c[1] - a[1], a[0] - c[0]
        if weight_u <= 0 or weight_m <= 0:
            continue
        subset = _top(weight_u * u + weight_m * m, u, count)
        b = _point(u, m, subset)
        gain = weight_u * (b[0] - a[0]) + weight_m * (b[1] - a[1])
        if b in found or gain <= 1e-12 * (weight_u * abs(a[0]) + weight_m * abs(a[1])):
            continue
        found[b] = subset
        for left, right in ((a, b), (b, c)):
            heapq.heappush(gaps, (-abs((left[0] - right[0]) * (right[1] - left[1])), left, right))
    return _front(useful, sure, np.array(list(found.values())))


def between(useful: FloatArray, sure: FloatArray, front: Front) -> Front:
    """Add subsets that exchange some of the items in which neighbours of a front differ, where not dominated."""
    room = max(0, MOST_MEMBERS // front.members.shape[1] - len(front))
    more: list[IndexArray] = []
    for a, c in zip(front.members[:-1], front.members[1:], strict=True):
        out, into = np.setdiff1d(a, c), np.setdiff1d(c, a)
        if len(out) < 2 or len(more) >= room:
            continue
        common = np.intersect1d(a, c)
        if comb(2 * len(out), len(out)) <= MOST_EXCHANGES:
            parts = np.array(list(combinations(np.concatenate([out, into]).tolist(), len(out))))
            pairs = non_dominated(useful[parts].sum(axis=1), sure[parts].sum(axis=1))
            more += [np.sort(np.concatenate([common, part])) for part in parts[pairs]]
        else:
            out, into = out[np.argsort(useful[out])], into[np.argsort(-useful[into])]
            more += [np.sort(np.concatenate([common, out[k:], into[:k]])) for k in range(1, len(out))]
    return _front(useful, sure, np.concatenate([front.members, np.array(more[:room])]) if more else front.members)


@dataclass(frozen=True, slots=True)
class Search:
    """What a random search found, and how many subsets it drew."""

    front: Front
    draws: int
    stopped_early: bool


def monte_carlo_front(
    useful: FloatArray,
    sure: FloatArray,
    count: int,
    rng: np.random.Generator,
    *,
    draws: int,
    early_stopping: bool = True,
) -> Search:
    """Draw subsets at random and keep those that no other drawn one dominates.

    Parameters
    ----------
    useful, sure : (n,) float
    count : 1 <= B <= n
    draws : most subsets to draw
    early_stopping : stop when the kernel discrepancy of the latest fronts moves by at most `STEADY` over `WINDOW`
        checks; both sums are first scaled to the range of the present front
    """
    n = len(useful)
    members = np.empty((0, count), dtype=np.int64)
    window: list[FloatArray] = []
    history: list[tuple[float, float]] = []
    done = 0
    stopped = False
    while done < draws and not stopped:
        step = min(CHECK_EVERY, draws - done)
        drawn = (
            np.argpartition(rng.random((step, n)), count - 1, axis=1)[:, :count] if count < n else np.arange(n)[None]
        )
        members = _front(useful, sure, np.concatenate([members, np.sort(drawn, axis=1)])).members
        done += step
        points = np.column_stack([useful[members].sum(axis=1), sure[members].sum(axis=1)])
        if early_stopping:
            stopped = _is_steady(points, window, history)
    return Search(_front(useful, sure, members), done, stopped)


def _is_steady(points: FloatArray, window: list[FloatArray], history: list[tuple[float, float]]) -> bool:
    if window:
        everything = np.concatenate([points, *window])
        low, span = everything.min(axis=0), np.ptp(everything, axis=0)
        span[span == 0] = 1
        values = [mmd((points - low) / span, (old - low) / span) for old in window]
        history.append((float(np.mean(values)), float(np.std(values))))
    window.append(points)
    del window[:-WINDOW], history[:-WINDOW]
    return len(history) == WINDOW and bool(np.all(np.ptp(np.array(history), axis=0) <= STEADY))


def mmd(x: FloatArray, y: FloatArray) -> float:
    """Squared maximum mean discrepancy of two point sets (biased), a sum of five RBF kernels.

    Bandwidths are h/4, h/2, h, 2h, 4h with h the mean squared distance of two different points of both sets together.
    """
    both = np.concatenate([x, y])
    d = np.square(both[:, None] - both[None]).sum(axis=2)
    n = len(both)
    h = float(d.sum()) / (n * n - n)
    if h == 0:
        return 0.0
    k: FloatArray = np.sum([np.exp(-d / (h * f)) for f in (0.25, 0.5, 1.0, 2.0, 4.0)], axis=0)
    i = len(x)
    return float(k[:i, :i].mean() + k[i:, i:].mean() - 2 * k[:i, i:].mean())


def overlaps(front: Front) -> IndexArray:
    """How often the items of each subset occur in all subsets together, (F,)."""
    counts = np.bincount(front.members.ravel())
    return np.asarray(counts[front.members].sum(axis=1))


def choose_by_overlap(front: Front) -> int:
    """Number of the subset with the largest overlap; ties: more useful, then the lowest positions."""
    shared = overlaps(front)
    best = np.flatnonzero(shared == shared.max())
    best = best[front.useful[best] == front.useful[best].max()]
    return int(min(best, key=lambda f: front.members[f].tolist()))


def choose_knee(front: Front) -> int:
    """Number of the subset farthest above the line between the two extremes; both sums scaled to [0, 1]."""
    span_u, span_m = np.ptp(front.useful) or 1.0, np.ptp(front.sure) or 1.0
    above = (front.useful - front.useful.min()) / span_u + (front.sure - front.sure.min()) / span_m
    return int(above.argmax())


def _top(first: FloatArray, second: FloatArray, count: int) -> IndexArray:
    """Positions, ascending, of the `count` largest `first`; ties by `second`, then by position."""
    if count >= len(first):
        return np.arange(len(first))
    cut = np.partition(first, len(first) - count)[len(first) - count]
    inside = np.flatnonzero(first > cut)
    level = np.flatnonzero(first == cut)
    level = level[np.lexsort((level, -second[level]))]
    return np.sort(np.concatenate([inside, level[: count - len(inside)]]))


def _point(u: FloatArray, m: FloatArray, subset: IndexArray) -> tuple[float, float]:
    return float(u[subset].sum()), float(m[subset].sum())


def _front(useful: FloatArray, sure: FloatArray, members: IndexArray, *, exact: bool = False) -> Front:
    u = np.array([useful[row].sum() for row in members])
    m = np.array([sure[row].sum() for row in members])
    keep = non_dominated(u, m)
    return Front(u[keep], m[keep], members[keep], exact)
