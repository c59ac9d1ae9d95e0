"""The audit reserve: a random part of the pool that no strategy sees and no model is trained on.

Every item has a random number that follows from the pool's seed and its index alone. Items below the
plan's rate are the reserve; each audit slice takes those of the reserve with the smallest numbers that
are still free. What was audited so far is therefore a uniform random sample without replacement of
all items that were free when auditing began (and of items added since), whatever the strategy
did: drawing from what the strategy left over would give a sample that gets easier round by round.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from poolwise.chance import rng_for
from poolwise.errors import OptionError
from poolwise.store.pool import PoolStore
from poolwise.types import UNLABELED, Array, BoolArray, IndexArray, PoolState, Selection

SHARE = 0.05
MINIMUM = 50
"""Default size of a slice: 5 % of the batch, at least 50 items (but see `slice_size`)."""
SMALL_SHARE = 4
"""The minimum may take up to one in so many items of a batch, so batches from 200 on carry all 50."""
RESERVE_ITEMS, LARGEST_RATE = 600, 0.25
"""The reserve holds at least so many items, but no larger part of the pool than this unless the share is larger."""

SETTING = "audit"
AUDITED, PROBABILITY = "audit", "draw_probability"
"""Components of a batch with a slice."""
OPENED = "audit_reserve_opened"
"""Note of a batch for which the strategy needed the reserve, after which nothing is audited any more."""


@dataclass(frozen=True, slots=True)
class AuditPlan:
    """How a pool is audited.

    share, minimum : size of a slice; share 0 means that no slice is drawn at present
    rate : part of the items that forms the reserve, fixed when auditing began
    train_after : rounds after which audited items join the training labels and stop judging; None: never
    excluded : pool indices that were not free when auditing began
    """

    share: float
    minimum: int
    rate: float
    train_after: int | None
    excluded: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """The audit items of one batch.

    settled : nothing of it is awaited any more: each item was answered, skipped or given back
    """

    batch: int
    round: int
    indices: IndexArray
    probabilities: Array
    settled: bool


@dataclass(frozen=True, slots=True)
class _Past:
    """What never changes of one batch: its slice, perhaps empty, and whether it needed the reserve."""

    batch: int
    round: int
    indices: IndexArray
    probabilities: Array
    opened: bool


_READ: WeakKeyDictionary[PoolStore, dict[int, _Past]] = WeakKeyDictionary()
"""Batches that were read already, because reading a long history for each query would take long."""


def plan_of(store: PoolStore) -> AuditPlan | None:
    """Read the plan of a pool; None if it was never audited."""
    record = store.settings.get(SETTING)
    if record is None:
        return None
    return AuditPlan(
        float(record["share"]),
        int(record["minimum"]),
        float(record["rate"]),
        record["train_after"],
        tuple(record["excluded"]),
    )


def set_plan(
    store: PoolStore,
    free: IndexArray,
    *,
    share: float | bool | None = None,
    minimum: int | None = None,
    train_after: int | None = None,
) -> AuditPlan | None:
    """Turn auditing on, off, or leave it as it is; the pool remembers.

    Parameters
    ----------
    free : (U,) items that may be asked for now
    share : part of a batch, 0 < share <= 0.9; True means 0.05; 0 or False turns it off; None keeps what the
        pool remembers (off in a new pool)
    minimum : smallest slice, see `slice_size`; None keeps
    train_after : rounds after which audited items join the training labels; None keeps (never)

    Raises
    ------
    OptionError
        If a value is out of range.
    """
    old = plan_of(store)
    if share is None and minimum is None and train_after is None:
        return old
    wanted = (old.share if old else SHARE) if share is None else SHARE if share is True else float(share)
    _check(wanted, minimum, train_after)
    if old is None and wanted == 0:
        return None
    if old is None:
        taken = np.ones(store.n_items, dtype=bool)
        taken[free] = False
        rate = max(wanted, min(LARGEST_RATE, RESERVE_ITEMS / max(1, len(free))))
        old = AuditPlan(wanted, MINIMUM, rate, None, tuple(np.flatnonzero(taken).tolist()))
    plan = dataclasses.replace(
        old,
        share=wanted,
        minimum=old.minimum if minimum is None else int(minimum),
        train_after=old.train_after if train_after is None else int(train_after),
    )
    if plan != plan_of(store):
        store.settings[SETTING] = dataclasses.asdict(plan)
    return plan


def slice_size(plan: AuditPlan, batch_size: int) -> int:
    """Say how many items of a batch are for the audit.

    The share, rounded up; or the minimum, but of that no more than a quarter of the batch; and always
    fewer than the batch.
    """
    if plan.share == 0:
        return 0
    wanted = max(math.ceil(plan.share * batch_size - 1e-9), min(plan.minimum, batch_size // SMALL_SHARE))
    return min(wanted, batch_size - 1)


def audit_order(store: PoolStore, plan: AuditPlan) -> IndexArray:
    """List the reserve in the order in which it is audited; items added later take their random places."""
    numbers = rng_for(store.seed, "audit order").random(store.n_items)  # the first N do not depend on later items
    numbers[list(plan.excluded)] = np.inf
    reserve = np.flatnonzero(numbers < plan.rate)
    return reserve[np.argsort(numbers[reserve], kind="stable")]


def slices(store: PoolStore) -> list[Slice]:
    """List the audit slices that were drawn, oldest first."""
    if plan_of(store) is None:
        return []
    waits = {batch.number: batch.unanswered for batch in store.batches(open_only=True)}
    return [
        Slice(p.batch, p.round, p.indices, p.probabilities, not np.isin(p.indices, waits.get(p.batch, ())).any())
        for p in _past(store)
        if len(p.indices)
    ]


def judges(store: PoolStore, as_of: int | None = None) -> IndexArray:
    """List the audited items that are kept out of training (at the start of round `as_of`): (n,) int64, sorted."""
    plan = plan_of(store)
    if plan is None:
        return np.empty(0, dtype=np.int64)
    now = store.current_round if as_of is None else as_of
    kept = [s.indices for s in slices(store) if plan.train_after is None or now - s.round < plan.train_after]
    return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *kept]))


def training_state(store: PoolStore, state: PoolState | None = None, as_of: int | None = None) -> PoolState:
    """Give the state without the labels that judge: what models are fitted on and strategies see."""
    state = store.state(as_of) if state is None else state
    hidden = judges(store, as_of)
    hidden = hidden[hidden < len(state.labels)]
    if not len(hidden):
        return state
    labels = state.labels.copy()
    labels[hidden] = UNLABELED
    return PoolState(
        np.setdiff1d(state.labeled, hidden, assume_unique=True),
        state.unlabeled,
        labels,
        np.setdiff1d(state.rejected, hidden, assume_unique=True),
    )


@dataclass(frozen=True, slots=True)
class Draw:
    """What one query may choose from.

    audit : (a,) items of the slice; probabilities : (a,) with which each was drawn from what was left
    unlabeled : (U',) items that the strategy may choose, sorted
    notes : facts for the batch
    """

    audit: IndexArray
    probabilities: Array
    unlabeled: IndexArray
    notes: Mapping[str, Any]


def draw(store: PoolStore, free: IndexArray, batch_size: int) -> Draw:
    """Draw the audit slice of a batch, before its strategy runs; follows from the state of the pool alone.

    The strategy gets what is free outside the reserve. Where that is too little, it gets the reserve
    too and auditing ends, because what is left then is no random sample.

    Parameters
    ----------
    free : (U,) items that may be asked for, sorted
    batch_size : B, 1 <= B <= U
    """
    none = np.empty(0, dtype=np.int64)
    plan = plan_of(store)
    if plan is None or any(past.opened for past in _past(store)):
        return Draw(none, np.empty(0), free, {})
    order = audit_order(store, plan)
    waiting = order[np.isin(order, free)]
    outside = np.setdiff1d(free, order, assume_unique=True)
    audit = waiting[: slice_size(plan, batch_size)]
    if batch_size - len(audit) > len(outside):
        return Draw(none, np.empty(0), free, {OPENED: True})
    if not len(audit):
        return Draw(none, np.empty(0), outside, {} if plan.share == 0 else {"audit": 0})
    drawn = sum(len(s.indices) for s in slices(store))
    left = store.n_items - len(plan.excluded) - drawn
    return Draw(audit, 1.0 / np.maximum(1, left - np.arange(len(audit))), outside, {"audit": len(audit)})


def mix(selection: Selection, draw: Draw, rng: np.random.Generator) -> Selection:
    """Put the slice between the picks of the strategy, at random places, so that the order tells nothing.

    Scores and components of audit items are missing: NaN for numbers, "" for text.
    """
    notes = {**selection.notes, **draw.notes}
    if not len(draw.audit):
        return dataclasses.replace(selection, notes=notes)
    size = len(selection) + len(draw.audit)
    audited = np.zeros(size, dtype=bool)
    audited[rng.permutation(size)[: len(draw.audit)]] = True
    indices = np.empty(size, dtype=np.int64)
    indices[audited], indices[~audited] = draw.audit[rng.permutation(len(draw.audit))], selection.indices
    probability = np.full(size, np.nan)
    probability[audited] = draw.probabilities
    components = {name: _spread(np.asarray(values), audited) for name, values in selection.components.items()}
    scores = None if selection.scores is None else _spread(selection.scores, audited)
    return dataclasses.replace(
        selection,
        indices=indices,
        scores=scores,
        components={**components, AUDITED: audited, PROBABILITY: probability},
        notes=notes,
    )


def for_annotators(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what would tell audit items from others: the mark, and scores that only others have."""
    if not any(AUDITED in row for row in rows):
        return rows
    return [{key: row[key] for key in ("rank", "index", "item_id", "batch") if key in row} for row in rows]


def _past(store: PoolStore) -> list[_Past]:
    """Read the batches of a pool, each once in the life of a process."""
    known = _READ.setdefault(store, {})
    numbers = range(1, store.n_batches + 1)
    for number in numbers:
        if number not in known:
            batch = store.batch(number)
            parts, size = batch.selection.components, len(batch.selection)
            drawn = np.asarray(parts[AUDITED], dtype=bool) if PROBABILITY in parts else np.zeros(size, dtype=bool)
            probabilities = np.asarray(parts.get(PROBABILITY, np.zeros(size)))[drawn]
            opened = bool(batch.selection.notes.get(OPENED))
            known[number] = _Past(number, batch.round, batch.selection.indices[drawn], probabilities, opened)
    return [known[number] for number in numbers]


def _spread(values: Array, audited: BoolArray) -> Array:
    kind = values.dtype.kind
    if kind in "fiub":
        out: Array = np.full(len(audited), np.nan, dtype=values.dtype if kind == "f" else np.float64)
    else:
        out = np.full(len(audited), "", dtype=values.dtype)
    out[~audited] = values
    return out


def _check(share: float, minimum: int | None, train_after: int | None) -> None:
    if not 0 <= share <= 0.9:
        raise OptionError(f"audit must be a share of the batch between 0 (off) and 0.9; got {share}. Try audit=0.05.")
    if minimum is not None and minimum < 0:
        raise OptionError(f"audit_min must be 0 or more items; got {minimum}. Try audit_min=50.")
    if train_after is not None and train_after < 1:
        raise OptionError(
            f"audit_train must be a number of rounds, 1 or more; got {train_after}. "
            "Leave it out to never train on them."
        )
