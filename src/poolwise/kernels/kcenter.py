"""k-center greedy over pools of any size: the same picks as the textbook loop, at a fraction of its work.

Source: Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 1985
(the greedy rule); stale upper bounds as in lazy greedy (Minoux 1978). The arrangement below is poolwise's own.

A row's squared distance to its nearest centre can only fall while centres are added, so an old value bounds the
present one from above. Three levels use that:

    pool    every row has an interval [lower, upper] that holds its value, valid for the first `upto` centres
    active  the few percent of rows with the largest `upper`, held in memory and kept up to date
    window  the W foremost active rows and their Gram matrix: picks above everything outside the window are final

Intervals make the picks independent of block sizes, threads and shards: a float32 distance is only trusted to a
tolerance, and whenever two intervals overlap at the top, both rows are settled by float64 distances of the
stored rows. The larger value goes first, then the lower pool index.

This module begins, drives the parts of the pool and reports. The others, from the bottom up: `kcenter_frame` has the
coordinates and the low-dimensional bound, `kcenter_centres` the centres, `kcenter_bounds` the float32 intervals,
`kcenter_exact` the float64 decisions, `kcenter_window` the picks, `kcenter_shard` the pool and the active rows, and
`kcenter_device` the same where a device does the products.

A pool split over shards is a team of `kcenter_part.Part`; `k_center` drives any number of them, and what travels
between a part and the window (`Candidates`, the window's intervals, the new centres) is small.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from poolwise.kernels.blocks import as_key, load_rows, read_rows
from poolwise.kernels.distances import sq_norms
from poolwise.kernels.kcenter_centres import Centres, labeled_centres
from poolwise.kernels.kcenter_exact import PAIR_BLOCK, Fetch, exact_value, float32_guess, rounded
from poolwise.kernels.kcenter_frame import CHUNK, Frame, fit_frame
from poolwise.kernels.kcenter_part import Part
from poolwise.kernels.kcenter_window import WINDOW, Candidates, merge, pick_in_window
from poolwise.kernels.onecenter import one_center
from poolwise.kernels.team import Here, Team
from poolwise.progress import task
from poolwise.types import FloatArray, IndexArray, Rows

ONE_CENTRE_ROWS = 10_000
"""Up to so many rows a cold start finds the 1-centre; beyond, that would take longer than all picks after it."""


@dataclass(frozen=True, slots=True)
class KCenterPicks:
    """Rows chosen by k-center greedy.

    indices : (B,) int64 pool indices, in order of choice
    distance : (B,) float64, distance of each pick to the nearest centre when it was picked, never increasing;
        the first pick of a cold start has the distance of the row farthest from it
    nearest : (B,) int64 pool index of that centre; -1 for the first pick of a cold start
    cover_radius : largest distance of any unlabeled row to its nearest centre after the last pick
    """

    indices: IndexArray
    distance: FloatArray
    nearest: IndexArray
    cover_radius: float


def k_center(
    rows: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    batch_size: int,
    *,
    first: Literal["center", "mean", "random"] = "mean",
    rng: np.random.Generator | None = None,
    n_shards: int = 1,
    team: Team | None = None,
    before: IndexArray | None = None,
    on_picks: Callable[[IndexArray], None] | None = None,
) -> KCenterPicks:
    """Repeatedly pick the unlabeled row farthest from all labeled and picked rows.

    Ties go to the lowest pool index. When only copies of labeled and picked rows are left, the lowest pool
    indices follow.

    Parameters
    ----------
    rows : (N, D) float, in memory or not
    labeled : (L,) int64 pool indices; may be empty
    unlabeled : (U,) int64 pool indices, sorted
    batch_size : 1 <= B <= U
    first : start without labeled rows: the 1-centre of the unlabeled rows (the row whose farthest row is nearest;
        beyond `ONE_CENTRE_ROWS` rows the row nearest their mean), the row nearest their mean, or a random one
    rng : needed for first="random"
    n_shards : parts into which the unlabeled rows are cut; the picks are the same for any number
    team : a `Part` for each stretch of `unlabeled`, wherever they live; instead of n_shards
    before : (b,) int64, the first b picks of a run that was interrupted, b < B; the others are the same as then.
        The parts of the team must hold the rows of `unlabeled` without them, and `labeled` followed by them.
    on_picks : called with the picks so far whenever there are new ones

    Returns
    -------
    KCenterPicks

    Notes
    -----
    Memory: about 24 B a row, 260 B more where the low-dimensional bound pays, 4 (L + B) D for the centres, and
    at most 0.3 GB of blocks and active rows. Time: far below the U (L + B) D of the plain loop on data with a
    decaying spectrum; at worst that, as matrix products.
    """
    frame = fit_frame(rows, unlabeled, len(labeled) + batch_size)
    capacity = len(labeled) + batch_size + 1
    known = labeled if before is None else np.concatenate([labeled, before])
    centres = labeled_centres(rows, known, frame, capacity)
    if team is None:
        free = unlabeled if before is None else np.setdiff1d(unlabeled, before)
        team = Here([Part(rows, indices, known) for indices in np.array_split(free, n_shards)])
        team.call("begin", frame, capacity, centres)
    else:
        team.call("begin", frame, capacity)

    def fetch(ids: IndexArray) -> FloatArray:
        return load_rows(rows, ids, np.float64)

    if not len(known):
        if first == "random" and rng is not None:
            start_id = int(rng.choice(unlabeled))
        elif first == "center" and len(unlabeled) <= ONE_CENTRE_ROWS:
            start_id = one_center(rows, unlabeled)
        else:
            start_id = _nearest_to_mean(team, frame, fetch)
        x = frame.place(read_rows(rows, as_key(np.array([start_id])), frame.origin.dtype))
        centres.append(np.array([start_id]), x, sq_norms(x))
        team.call("start_from", start_id)
    extra = batch_size + 1 if batch_size < len(unlabeled) else batch_size  # one more tells the radius that is left
    tell = None if on_picks is None else functools.partial(_tell_picks, on_picks, centres, len(labeled))
    run_windows(team, centres, len(labeled) + extra, fetch, tell)
    return _report(centres, len(labeled), batch_size, fetch)


def _tell_picks(on_picks: Callable[[IndexArray], None], centres: Centres, n_labeled: int) -> None:
    on_picks(centres.ids[n_labeled:].copy())


def run_windows(
    team: Team, centres: Centres, target: int, fetch: Fetch, tell: Callable[[], None] | None = None
) -> None:
    """Pick until there are `target` centres; `tell` is called after every window with picks."""
    width = 256
    with task("choosing rows", target) as work:
        work.advance(len(centres))
        while len(centres) < target:
            before = len(centres)
            share = max(64, 4 * width // team.size) if team.size > 1 else width
            parts: list[Candidates] = team.call("candidates", share)
            window = merge(parts)
            picks = pick_in_window(window, centres, target - before, fetch)
            if tell is not None and picks:
                tell()
            work.advance(len(picks))
            if len(centres) == target:
                return
            edges = np.cumsum([0, *(len(part.ids) for part in parts)])
            new = (centres.ids[before:], centres.x[before:], centres.sq_norm[before:])
            own = [(window.lower[i:j], window.upper[i:j], before, new) for i, j in pairwise(edges)]
            team.call_each("absorb", own)
            if not picks or len(picks) > width // 4:
                width = min(2 * width, WINDOW)
            elif len(picks) < width // 16:
                width = max(width // 2, 64)


def _nearest_to_mean(team: Team, frame: Frame, fetch: Fetch) -> int:
    """Pool index of the unlabeled row nearest the mean of all; lowest index among equals.

    The frame's origin is close to the mean, so only rows about as close to it as the closest can be nearest.
    """
    summaries = team.call("summary")
    n = sum(rows for rows, _, _ in summaries)
    offset: FloatArray = np.sum([total for _, total, _ in summaries], axis=0) / n  # (D,) mean, seen from the origin
    reach = np.sqrt(min(shortest for _, _, shortest in summaries))
    limit = float((reach * (1 + 1e-5) + 2 * np.sqrt(offset @ offset)) ** 2 * (1 + 1e-5))
    mean = frame.origin.astype(np.float64) + offset / frame.scale
    best = (np.inf, -1)
    for near in team.call("within", limit):
        for start in range(0, len(near), CHUNK):
            ids = near[start : start + CHUNK]
            d = rounded(sq_norms((fetch(ids) - mean) * frame.scale))
            best = min(best, (float(d.min()), int(ids[d.argmin()])))
    return best[1]


def _report(centres: Centres, n_labeled: int, batch_size: int, fetch: Fetch) -> KCenterPicks:
    """Measure each pick's distance to the nearest earlier centre exactly."""
    total = len(centres)
    distance, nearest = np.zeros(total - n_labeled), np.full(total - n_labeled, -1, dtype=np.int64)
    start = max(n_labeled, 1)
    while start < total:
        stop = min(total, start + int(np.clip(PAIR_BLOCK // total, 16, 256)))
        x, sq_norm = centres.x[start:stop], centres.sq_norm[start:stop]
        guess = float32_guess(x, sq_norm, centres.reached[start:stop], centres, np.arange(start, stop))
        value, which = exact_value(centres.ids[start:stop], sq_norm, guess, centres, fetch)
        distance[start - n_labeled : stop - n_labeled] = np.sqrt(value) / centres.frame.scale
        nearest[start - n_labeled : stop - n_labeled] = which
        start = stop
    for i in np.flatnonzero((distance == 0) & (nearest >= n_labeled)):  # a copy of a copy is a copy of the first
        j = nearest[i] - n_labeled
        if distance[j] == 0 and nearest[j] >= 0:
            nearest[i] = nearest[j]
    nearest[nearest >= 0] = centres.ids[nearest[nearest >= 0]]
    cover = float(distance[batch_size]) if total > n_labeled + batch_size else 0.0
    if not n_labeled:
        distance[0] = distance[1] if len(distance) > 1 else 0.0
    picked = slice(n_labeled, n_labeled + batch_size)
    return KCenterPicks(centres.ids[picked].copy(), distance[:batch_size], nearest[:batch_size], cover)
