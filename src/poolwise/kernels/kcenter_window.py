"""The window of k-center: the foremost rows of all parts and their Gram matrix, among which picks are made.

A pick is final when its value is above everything outside the window; where intervals overlap at the top, both rows are
settled by float64 distances. The larger value goes first, then the lower pool index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from poolwise.kernels import device
from poolwise.kernels.kcenter_bounds import widen
from poolwise.kernels.kcenter_centres import Centres
from poolwise.kernels.kcenter_exact import PAIR_BLOCK, Fetch, exact_pairs, exact_value, float32_guess
from poolwise.kernels.kcenter_frame import CHUNK
from poolwise.types import BoolArray, FloatArray, IndexArray

WINDOW = 1024
"""Largest window whose Gram matrix is kept."""


def foremost(upper: FloatArray, count: int) -> tuple[IndexArray, float, int]:
    """Split off the `count` largest values, lowest position first among equals.

    Returns
    -------
    their positions, ascending; the largest value that is left and its lowest position (-inf, -1 if none is).
    """
    n = len(upper)
    if count >= n:
        return np.arange(n), -np.inf, -1
    ranked = np.partition(upper, (n - count - 1, n - count))
    left, edge = ranked[n - count - 1], ranked[n - count]
    inside = upper > edge if left == edge else upper >= edge
    if left == edge:
        level = np.flatnonzero(upper == edge)
        inside[level[: count - np.count_nonzero(inside)]] = True
    rest = np.flatnonzero((upper == left) & ~inside)
    return np.flatnonzero(inside), float(left), int(rest[0])


def comes_before(upper: FloatArray, pos: IndexArray, rest: float, rest_pos: int) -> BoolArray:
    """Which rows come before row `rest_pos` with value `rest`: larger value, then lower position."""
    ahead: BoolArray = (upper > rest) | ((upper == rest) & (pos < rest_pos))
    return ahead


@dataclass(slots=True)
class Candidates:
    """The rows that one or several shards put forward, all up to date, and what stays behind.

    ids, x, sq_norm, lower, upper : (W, ...) pool index, placed row, its squared length, its interval
    rest, rest_id : largest upper bound of all other rows, and the lowest pool index that has it
    """

    ids: IndexArray
    x: FloatArray
    sq_norm: FloatArray
    lower: FloatArray
    upper: FloatArray
    rest: float
    rest_id: int


def merge(parts: Sequence[Candidates]) -> Candidates:
    """Join the candidates of several shards."""
    if len(parts) == 1:
        return parts[0]
    rest, rest_id = max(((part.rest, part.rest_id) for part in parts), key=lambda pair: (pair[0], -pair[1]))
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in ("ids", "x", "sq_norm")]
    intervals = [np.concatenate([getattr(part, name) for part in parts]) for name in ("lower", "upper")]
    return Candidates(joined[0], joined[1], joined[2], intervals[0], intervals[1], rest, rest_id)


def pick_in_window(window: Candidates, centres: Centres, limit: int, fetch: Fetch) -> list[int]:
    """Pick greedily among the candidates while that is certain to be right for the whole pool.

    Appends the picks to `centres` and tightens the window's intervals in place (a pick's becomes -inf).

    Returns
    -------
    Positions of the picks in the window, in order. None may be certain; then at least one row has been settled,
    so that repeating with fresh candidates comes to an end.
    """
    lower, upper, sq_norm = window.lower, window.upper, window.sq_norm
    gram: FloatArray | None = None
    picks: list[int] = []
    reached: list[float] = []
    begun = len(centres)
    settled = bool((lower == upper).any())

    def append_picks() -> None:
        new = picks[len(centres) - begun :]
        centres.append(window.ids[new], window.x[new], sq_norm[new], np.array(reached[len(centres) - begun :]))

    def decide(at: IndexArray) -> None:
        nonlocal settled
        append_picks()
        settle(window, at, centres, fetch)
        settled = True

    while len(picks) < limit:
        pos = _leader(window, decide)
        if not _is_final(window, pos):
            if picks or lower[pos] == upper[pos]:
                break
            decide(np.array([pos]))
            pos = _leader(window, decide)
            if not _is_final(window, pos):
                break
        picks.append(pos)
        reached.append(float(upper[pos]))
        if gram is None and 1 < len(window.ids) <= WINDOW:
            gram = device.gram(window.x)  # (W, W)
        d = -2 * (gram[pos] if gram is not None else window.x @ window.x[pos])
        d += sq_norm
        d += sq_norm[pos]
        low, up = widen(d, sq_norm)
        if settled:  # settled rows stay settled
            doubtful = np.flatnonzero((lower == upper) & (low < upper) & (up >= upper))
            if len(doubtful):
                exact = exact_pairs(window.ids[doubtful], window.ids[pos : pos + 1], centres, fetch)
                low[doubtful] = up[doubtful] = exact
        np.minimum(lower, low, out=lower)
        np.minimum(upper, up, out=upper)
        lower[pos] = upper[pos] = -np.inf
    append_picks()
    return picks


def _leader(window: Candidates, decide: Callable[[IndexArray], None]) -> int:
    """Position of the candidate with the largest value; where intervals overlap, `decide` settles those rows."""
    lower, upper = window.lower, window.upper
    pos = int(lower.argmax())
    ahead = upper >= lower[pos]
    if np.count_nonzero(ahead) == 1:
        return pos
    level = np.flatnonzero(ahead)
    unsure = level[lower[level] < upper[level]]
    if len(unsure):
        decide(unsure)
    level = level[lower[level] == lower[level].max()]
    return int(level[window.ids[level].argmin()])


def _is_final(window: Candidates, pos: int) -> bool:
    """No row outside the window can come before this one."""
    low = window.lower[pos]
    return bool(low > window.rest or (low == window.upper[pos] == window.rest and window.ids[pos] < window.rest_id))


def settle(window: Candidates, at: IndexArray, centres: Centres, fetch: Fetch) -> None:
    """Replace the intervals of some rows by their values, from float64 distances of the stored rows."""
    step = int(np.clip(PAIR_BLOCK // len(centres), 16, CHUNK))
    for start in range(0, len(at), step):
        here = at[start : start + step]
        x, sq_norm = window.x[here], window.sq_norm[here]
        guess = float32_guess(x, sq_norm, window.upper[here], centres, np.full(len(here), len(centres)))
        value, _ = exact_value(window.ids[here], sq_norm, guess, centres, fetch)
        window.lower[here] = window.upper[here] = value
