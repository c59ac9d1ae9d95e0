"""From arrays to a batch: check the input once, hand a strategy what it named, check its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import poolwise.ood
import poolwise.strategies  # noqa: F401  (fills the registry)
from poolwise.calling import call
from poolwise.calling import row_scorer as row_scorer
from poolwise.chance import rng_for
from poolwise.errors import ArrayMissingError, BudgetError, InputError, OptionError, ShapeError
from poolwise.kernels import backend
from poolwise.kernels.blocks import (
    LinearLogits,
    LogProbs,
    Softmax,
    as_rows,
    check_block,
    iter_blocks,
    load_rows,
    stored,
)
from poolwise.kernels.posterior import SampledProbs, fit_posterior
from poolwise.kernels.samples import MeanProbs
from poolwise.ood.gate import Gate, make_gate
from poolwise.reduce import NEEDS
from poolwise.registry import DETECTORS, ENGINES, STRATEGIES, DetectorSpec, StrategySpec, check_options
from poolwise.types import (
    ARRAYS,
    PROBABILITIES,
    UNLABELED,
    BoolArray,
    FloatArray,
    IndexArray,
    Picks,
    QueryContext,
    Rows,
    Selection,
)

HEAD_SAMPLES = 16
"""Heads drawn around a given one where a strategy needs prob_samples."""


def select(
    name: str,
    *,
    batch_size: int,
    seed: int = 0,
    labeled: Any = None,
    unlabeled: Any = None,
    labels: Any = None,
    embeddings: Any = None,
    logits: Any = None,
    probs: Any = None,
    head_weight: Any = None,
    head_bias: Any = None,
    prob_samples: Any = None,
    noise_deviations: Any = None,
    ood_scores: Any = None,
    foreign: Any = None,
    ood: str | None = None,
    costs: Any = None,
    groups: Any = None,
    predicted_loss: Any = None,
    discriminator_score: Any = None,
    boundary_distance: Any = None,
    validation: Any = None,
    oracle_labels: Any = None,
    device: str | None = None,
    engine: str = "local",
    workers: int = 1,
    address: str | None = None,
    rounds: int = 1,
    history: Sequence[Selection] = (),
    **options: Any,
) -> Selection:
    """Choose the batch to label next from arrays.

    Arrays may be NumPy arrays, memory maps, torch tensors or DataFrames. `logits` and `probs` are
    derived from each other, or streamed from `embeddings` and the head, when they are not given.

    Parameters
    ----------
    name : a strategy; `poolwise strategies` lists them
    batch_size : B, 1 <= B <= U
    seed : every random choice follows from it; same seed and inputs, same batch
    labeled : (L,) pool indices, or (N,) bool mask; default: where `labels` >= 0, else none
    unlabeled : (U,) pool indices, or (N,) bool mask, of the items that may be chosen; default: all others
    labels : (N,) int, class of each labeled item (values elsewhere are hidden from the strategy),
        or (L,) int in the order of `labeled`
    embeddings : (N, D) float
    logits, probs : (N, C) float; rows of probs sum to 1
    head_weight, head_bias : (C, D), (C,) float; last linear layer
    prob_samples : (N, S, C) float; where there are neither probs, logits nor a head, their mean is probs;
        drawn around the head by Laplace's method where it is given with embeddings and labels
    noise_deviations : (N, K, Q) float; movements of a network's outputs under K changes of its weights
    costs : (N,) float > 0; every strategy then prefers items that are worth their price
    groups : (N,) int or text; with max_per_group=m, at most m items of a group enter the batch; an item whose text is
        empty is a group of its own
    foreign : (F,) pool indices, or (N,) bool mask, of items that annotators answered to be of no class of interest
    ood : a detector of foreign items; its gate narrows what a strategy may choose from
    ood_scores, predicted_loss, discriminator_score, boundary_distance : (N,)
    validation : (N,) bool, labeled items that the head was not fitted to
    oracle_labels : (N,) int true classes; only for strategies that are marked as oracles
    device : None for NumPy; "cuda" (or "cpu", torch on the processor) computes what the strategy can compute there, and
        the batch stays the same: see docs/guide/large-pools.md. The note `device` says what that was.
    engine : "local" (threads), "processes" or "ray"; the batch is the same with each
    workers : threads, processes or Ray actors that share the rows of the pool; arrays should be memory-mapped files
    address : of a running Ray cluster; without it Ray is started on this machine, and shut down again
    rounds : 2 to choose approximately, for pools too large for an exact choice: see docs/guide/large-pools.md
    history : past batches, oldest first, for strategies that learn from their own choices (bandits)
    options : options of the strategy, and those that every strategy has: `within` ("seals", "anchors", "margin",
        "random") lets only a part of the items compete, `keep` says how many; `max_per_group` limits groups;
        `stochastic` ("power", "softmax", "softrank") and `beta` make a random batch of any score

    Returns
    -------
    Selection with (B,) int64 indices in order of choice.

    Raises
    ------
    UnknownNameError, ArrayMissingError, BudgetError, OptionError, ShapeError, InputError

    Examples
    --------
    >>> import numpy as np, poolwise as pw
    >>> len(pw.select("coreset", embeddings=np.eye(6), batch_size=3).indices)
    3
    """
    given = {
        "embeddings": embeddings,
        "logits": logits,
        "probs": probs,
        "head_weight": head_weight,
        "head_bias": head_bias,
        "prob_samples": prob_samples,
        "noise_deviations": noise_deviations,
        "ood_scores": ood_scores,
        "costs": costs,
        "groups": groups,
        "predicted_loss": predicted_loss,
        "discriminator_score": discriminator_score,
        "boundary_distance": boundary_distance,
        "validation": validation,
        "oracle_labels": oracle_labels,
    }
    if groups is not None:
        given["groups"] = group_numbers(groups)
    arrays = {key: as_rows(value, key) for key, value in given.items() if value is not None}
    spec = STRATEGIES[name]
    checked = check_options(spec, options)
    state: dict[str, Any] = {"labeled": labeled, "unlabeled": unlabeled, "labels": labels, "foreign": foreign}
    state["history"] = history
    where = Where(engine, workers, address, rounds, device)
    return choose(spec, arrays, state, batch_size=batch_size, seed=seed, options=checked, ood=ood, where=where)


@dataclass(frozen=True, slots=True)
class Where:
    """Where a batch is chosen: in this process unless something else is said; parameters as for `select`."""

    engine: str = "local"
    workers: int = 1
    address: str | None = None
    rounds: int = 1
    device: str | None = None


HERE = Where()


def choose(
    spec: StrategySpec,
    arrays: Mapping[str, Rows],
    state: Mapping[str, Any],
    *,
    batch_size: int,
    seed: int,
    options: Mapping[str, Any],
    ood: str | None = None,
    trusted: bool = False,
    where: Where = HERE,
) -> Selection:
    """Let a strategy choose, behind the gate of a detector if one is named.

    Parameters
    ----------
    state : labeled, unlabeled, labels, foreign, history, as for `select`
    trusted : arrays were looked at for NaN and inf before

    Raises
    ------
    OptionError
        With a detector and several workers, or an address without Ray; and see `engine.door.choose`.
    """
    if (where.engine, where.workers, where.rounds) != ("local", 1, 1):
        if ood is not None:
            raise OptionError(f"ood={ood!r} cannot be used with several workers. Leave it out, or use workers=1.")
        context = build_context(spec, arrays, **state, options=options, trusted=True)  # workers look for themselves
        around = {name: getattr(where, name) for name in ("device", "workers", "address", "rounds")}
        engine = ENGINES[where.engine]
        split: Selection = engine(spec, context, batch_size=batch_size, seed=seed, options=options, **around)
        return split
    if where.address is not None:
        raise OptionError(f"address {where.address!r} is for engine 'ray'; got engine 'local'. Pass engine='ray'.")
    with backend.on(where.device):
        selection = _choose_here(spec, arrays, state, batch_size, seed, options, ood, trusted)
        return replace(selection, notes={**selection.notes, **backend.notes()})


def _choose_here(
    spec: StrategySpec,
    arrays: Mapping[str, Rows],
    state: Mapping[str, Any],
    batch_size: int,
    seed: int,
    options: Mapping[str, Any],
    ood: str | None,
    trusted: bool,
) -> Selection:
    """Let a strategy choose in this process."""
    if ood is None:
        context = build_context(spec, arrays, **state, trusted=trusted, options=options)
        return run_strategy(spec, context, batch_size=batch_size, seed=seed, options=options)
    detector = DETECTORS[ood]
    gate = detect(detector, build_context(detector, arrays, **state, trusted=trusted), batch_size=batch_size)
    arrays, unlabeled = through(gate, spec, arrays)
    context = build_context(spec, arrays, **{**state, "unlabeled": unlabeled}, trusted=trusted, options=options)
    return with_gate(run_strategy(spec, context, batch_size=batch_size, seed=seed, options=options), gate)


def detect(spec: DetectorSpec, context: QueryContext, *, batch_size: int) -> Gate:
    """Score the unlabeled items with a detector, and decide which of them a strategy may choose from."""
    rejected = context.arrays.get("foreign")

    def score(items: IndexArray, labeled: IndexArray, foreign: IndexArray) -> FloatArray:
        arrays = dict(context.arrays)
        if rejected is not None:
            arrays["foreign"] = np.zeros(len(rejected), dtype=bool)
            arrays["foreign"][foreign] = True
        state = {"items": items} | ({"labeled": labeled} if "labeled" in spec.takes_state else {})
        scores = np.asarray(spec.function(**arrays, **state), dtype=np.float64)
        if scores.shape != items.shape or not np.isfinite(scores).all():
            raise InputError(
                f"detector {spec.name!r} returned {scores.shape} scores for {len(items)} items, or some that are not "
                "finite. Please report this to its author."
            )
        return scores

    return make_gate(
        spec.name,
        score,
        context.unlabeled,
        context.labeled,
        np.empty(0, dtype=np.int64) if rejected is None else np.flatnonzero(rejected),
        context.arrays.get("labels"),
        batch_size=batch_size,
    )


def through(gate: Gate, spec: StrategySpec, arrays: Mapping[str, Rows]) -> tuple[dict[str, Rows], IndexArray]:
    """Arrays and unlabeled items as a strategy gets them behind a gate.

    A strategy that takes `ood_scores` gets the scores and all items; any other only the items that were let through.
    """
    if "ood_scores" not in (*spec.needs, *spec.uses):
        return dict(arrays), gate.kept
    n_items = next(len(value) for name, value in arrays.items() if ARRAYS[name].per_row)
    scores = np.full(n_items, gate.scores.min(initial=0.0))
    scores[gate.items] = gate.scores
    return {**arrays, "ood_scores": scores}, gate.items


def with_gate(selection: Selection, gate: Gate) -> Selection:
    """Say in a selection how foreign its picks are, and what the gate did."""
    scores = gate.scores[np.searchsorted(gate.items, selection.indices)]
    return replace(
        selection,
        components={**selection.components, "ood_score": scores},
        notes={**selection.notes, **gate.notes},
    )


def group_numbers(groups: Any) -> IndexArray:
    """Turn groups into numbers; an item whose group is the empty text is a group of its own.

    Parameters
    ----------
    groups : (N,) whole numbers or texts

    Raises
    ------
    InputError, ShapeError
        If they are neither, or not one per item.
    """
    values = np.asarray(groups.to_numpy() if hasattr(groups, "to_numpy") else groups)
    if values.ndim == 1 and values.dtype == object:
        named = ["" if value is None or value != value else value for value in values.tolist()]
        values = np.array(named) if all(isinstance(value, str) for value in named) else values
    if values.ndim != 1 or values.dtype.kind != "U":
        return _whole_numbers(groups, "groups")
    names, numbers = np.unique(values, return_inverse=True)
    alone = np.flatnonzero(values == "")
    numbers[alone] = len(names) + np.arange(len(alone))
    return np.asarray(numbers, dtype=np.int64)


def build_context(
    spec: StrategySpec | DetectorSpec,
    arrays: Mapping[str, Rows],
    *,
    labeled: Any = None,
    unlabeled: Any = None,
    labels: Any = None,
    foreign: Any = None,
    history: Sequence[Selection] = (),
    trusted: bool = False,
    options: Mapping[str, Any] | None = None,
) -> QueryContext:
    """Validate the input of one query and keep exactly what the strategy named.

    `trusted` skips the search for NaN and inf, for arrays whose store has already done it. `options` are checked
    options of the query: what those around the strategy need (`within`) is kept too, as are given costs and groups.

    Raises
    ------
    ArrayMissingError
        If a named array is neither given nor derivable.
    ShapeError, InputError
        If arrays do not fit together or hold NaN or inf (the row is named).
    """
    n_items = _pool_size(arrays, labels, labeled, unlabeled)
    known = None if labels is None else _whole_numbers(labels, "labels")
    labeled_idx = _default_labeled(known, n_items) if labeled is None else as_indices(labeled, n_items, "labeled")
    mask = np.ones(n_items, dtype=bool)
    mask[labeled_idx] = False
    foreign_idx = np.empty(0, dtype=np.int64) if foreign is None else as_indices(foreign, n_items, "foreign")
    mixed = foreign_idx[~mask[foreign_idx]]
    if len(mixed):
        raise InputError(f"item {mixed[0]} is in both labeled and foreign; remove it from one.")
    mask[foreign_idx] = False
    if unlabeled is None:
        unlabeled_idx = np.flatnonzero(mask)
    else:
        unlabeled_idx = as_indices(unlabeled, n_items, "unlabeled")
        _refuse_taken(unlabeled_idx, mask, foreign_idx)
    within = (options or {}).get("within", "all")
    pool: dict[str, Any] = dict(arrays)
    if foreign is not None:
        pool["foreign"] = np.isin(np.arange(n_items), foreign_idx)
    if known is not None:
        pool["labels"] = _hide(known, labeled_idx if labeled is None else labeled, labeled_idx, n_items)
    elif not len(labeled_idx) and "labels" in (*spec.needs, *spec.uses, *NEEDS.get(within, ())):
        pool["labels"] = np.full(n_items, UNLABELED, dtype=np.int64)
    if "prob_samples" in (*spec.needs, *spec.uses) and "prob_samples" not in pool and len(labeled_idx):
        _sample_head(pool, labeled_idx)
    wanted: dict[str, Any] = {}
    for key in (*spec.needs, *spec.uses):
        fused = key == "probs" and spec.from_logits is not None and "probs" not in pool
        value = _derive("logits" if fused else key, pool)
        if value is None and key in spec.needs:
            raise ArrayMissingError(
                f"{_kind(spec)} {spec.name!r} needs {key} {ARRAYS[key].shape} ({ARRAYS[key].what}), which is missing; "
                f"supply it with {ARRAYS[key].supplied_by}. Given: {', '.join(sorted(arrays)) or 'nothing'}."
            )
        wanted["logits" if fused else key] = value
    extra = _extra(pool, wanted, within)
    _check(spec, wanted | extra, n_items, unlabeled_idx, trusted)
    return QueryContext(labeled_idx, unlabeled_idx, wanted, extra, tuple(history))


def _refuse_taken(unlabeled: IndexArray, free: BoolArray, foreign: IndexArray) -> None:
    """Raise if an item is unlabeled and something else too; free : (N,) bool, items that are nothing else."""
    both = unlabeled[~free[unlabeled]]
    if len(both):
        where = "foreign" if both[0] in foreign else "labeled"
        raise InputError(
            f"item {both[0]} is in both {where} and unlabeled ({len(both)} such items); remove it from one."
        )


def _extra(pool: dict[str, Any], wanted: Mapping[str, Any], within: str) -> dict[str, Any]:
    """Arrays that are used around the strategy and not by it."""
    extra: dict[str, Any] = {
        key: np.asarray(pool[key]) for key in ("costs", "groups") if key in pool and key not in wanted
    }
    if "costs" in extra and not (np.isfinite(extra["costs"]) & (extra["costs"] > 0)).all():
        row = int(np.flatnonzero(~(np.isfinite(extra["costs"]) & (extra["costs"] > 0)))[0])
        raise InputError(
            f"costs of item {row} is {extra['costs'].ravel()[row]}; every cost must be above 0. Repair it."
        )
    for key in NEEDS.get(within, ()):
        value = wanted.get(key) if wanted.get(key) is not None else _derive(key, pool)
        if value is not None:
            extra[key] = value
    return extra


def run_strategy(
    spec: StrategySpec,
    context: QueryContext,
    *,
    batch_size: int,
    seed: int,
    options: Mapping[str, Any],
    caller: Callable[..., Picks] = call,
) -> Selection:
    """Call a strategy on a validated context, in this process or by another `caller`, and check its answer.

    Raises
    ------
    BudgetError
        If batch_size is not between 1 and U.
    OptionError
        If batch_size or seed is no whole number, or seed is negative or too large.
    """
    check_whole("batch_size", batch_size)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise OptionError(f"seed must be a whole number between 0 and 2**64 - 1; got {seed!r}. Try seed=0.")
    n_free = len(context.unlabeled)
    if not n_free:
        raise BudgetError(f"no item is left to choose from; got batch_size {batch_size}. Add items to the pool.")
    if not 1 <= batch_size <= n_free:
        raise BudgetError(
            f"batch_size must be between 1 and {n_free} (unlabeled items); got {batch_size}. "
            "Ask for fewer items, or add items to the pool."
        )
    start = time.perf_counter()
    picks = caller(spec, context, int(batch_size), seed, options)
    _check_answer(spec, picks.indices, context.unlabeled, int(batch_size))
    return Selection(
        indices=picks.indices,
        scores=None if picks.scores is None else np.asarray(picks.scores, dtype=np.float32),
        strategy=spec.name,
        options=dict(options),
        seed=int(seed),
        seconds=time.perf_counter() - start,
        components=picks.components,
        notes=picks.notes,
    )


def check_whole(name: str, value: Any) -> None:
    """Refuse what is not a whole number, true and false among it."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise OptionError(f"{name} must be a whole number; got {value!r}. Pass it without quotes or a point.")


def _check_answer(spec: StrategySpec, indices: IndexArray, unlabeled: IndexArray, batch_size: int) -> None:
    """Refuse a wrong batch: a third-party strategy must not be able to corrupt a pool."""
    wrong = None
    if indices.shape != (batch_size,) or indices.dtype != np.int64:
        wrong = f"expected ({batch_size},) int64 indices; got {indices.shape} {indices.dtype}"
    elif len(np.unique(indices)) != batch_size:
        wrong = "the batch holds an item twice"
    elif not np.array_equal(unlabeled[np.searchsorted(unlabeled, indices) % len(unlabeled)], indices):
        wrong = "the batch holds items that may not be chosen"
    if wrong:
        raise InputError(f"strategy {spec.name!r} returned a wrong batch: {wrong}. Please report this to its author.")


def _kind(spec: StrategySpec | DetectorSpec) -> str:
    return "detector" if spec.kind == "detector" else "strategy"


def _pool_size(arrays: Mapping[str, Rows], labels: Any, labeled: Any, unlabeled: Any) -> int:
    sizes = {key: len(value) for key, value in arrays.items() if ARRAYS[key].per_row}
    if sizes:
        first = next(iter(sizes))
        for key, size in sizes.items():
            if size != sizes[first]:
                raise ShapeError(
                    f"{key} has {size} rows and {first} has {sizes[first]}; row i of every array must be item i."
                )
        return sizes[first]
    for value in (labeled, unlabeled):
        if value is not None and np.asarray(value).dtype == bool:
            return len(value)
    if labels is not None and (labeled is None or len(labels) != len(labeled)):
        return len(labels)
    largest = [int(np.max(v)) for v in (labeled, unlabeled) if v is not None and len(v)]
    if largest:
        return max(largest) + 1
    raise ArrayMissingError("the size of the pool is unknown; pass embeddings=..., probs=..., or unlabeled=indices.")


def as_indices(value: Any, n_items: int, name: str) -> IndexArray:
    """Turn a mask or a list of pool indices into sorted int64 indices.

    Raises
    ------
    InputError
        If an index is repeated, negative or too large.
    """
    if not hasattr(value, "__len__") or getattr(value, "shape", None) == ():
        raise InputError(f"{name} is {value!r}; expected pool indices or a mask. Pass a list or an array.")
    array = np.asarray(as_rows(value, name)) if len(value) else np.empty(0, dtype=np.int64)
    if array.ndim != 1:
        raise ShapeError(f"{name} has shape {array.shape}; expected one dimension of pool indices.")
    if array.dtype == bool:
        if len(array) != n_items:
            raise ShapeError(f"{name} is a mask of {len(array)} items; the pool has {n_items}.")
        return np.flatnonzero(array).astype(np.int64)
    indices = np.sort(_whole_numbers(array, name))
    if len(indices) and (indices[0] < 0 or indices[-1] >= n_items):
        bad = indices[0] if indices[0] < 0 else indices[-1]
        raise InputError(f"{name} holds pool index {bad}; the pool has items 0 to {n_items - 1}.")
    repeated = indices[1:][indices[1:] == indices[:-1]]
    if len(repeated):
        raise InputError(f"{name} holds item {repeated[0]} twice; list each item once.")
    return indices


def _whole_numbers(value: Any, name: str) -> IndexArray:
    array = np.asarray(as_rows(value, name))
    if array.ndim != 1:
        raise ShapeError(f"{name} has shape {array.shape}; expected one dimension.")
    whole = np.issubdtype(array.dtype, np.integer) or bool(np.all(np.abs(array) < 2**63) and np.all(array % 1 == 0))
    if not whole:
        raise InputError(f"{name} holds values that are not whole numbers; expected class or item numbers.")
    return array.astype(np.int64)


def _default_labeled(labels: IndexArray | None, n_items: int) -> IndexArray:
    if labels is None:
        return np.empty(0, dtype=np.int64)
    if len(labels) != n_items:
        raise ShapeError(
            f"labels has {len(labels)} rows and the pool has {n_items}; "
            "use -1 where unlabeled, or pass labeled=indices too."
        )
    return np.flatnonzero(labels >= 0)


def _hide(labels: IndexArray, given: Any, labeled: IndexArray, n_items: int) -> IndexArray:
    """Spread labels over the pool; whatever was passed for other items cannot be seen."""
    hidden = np.full(n_items, UNLABELED, dtype=np.int64)
    if len(labels) == n_items:
        hidden[labeled] = labels[labeled]
    elif len(labels) == len(labeled):
        order = np.asarray(given)
        hidden[np.flatnonzero(order) if order.dtype == bool else order.astype(np.int64)] = labels
    else:
        raise ShapeError(
            f"labels has {len(labels)} rows; expected {n_items} (whole pool) or {len(labeled)} (labeled items)."
        )
    bad = labeled[hidden[labeled] < 0]
    if len(bad):
        raise InputError(f"labeled item {bad[0]} has label {hidden[bad[0]]}; classes are numbered from 0.")
    return hidden


def _derive(name: str, pool: dict[str, Any]) -> Any:
    if name in pool:
        return pool[name]
    has_head = "embeddings" in pool and "head_weight" in pool
    if name == "logits" and has_head:
        pool["logits"] = _linear(pool)
    elif name == "logits" and ("probs" in pool or "prob_samples" in pool):
        pool["logits"] = LogProbs(_derive("probs", pool))
    elif name == "probs" and ("logits" in pool or has_head):
        pool["probs"] = Softmax(_derive("logits", pool))
    elif name == "probs" and "prob_samples" in pool:
        pool["probs"] = MeanProbs(pool["prob_samples"])
    return pool.get(name)


def _sample_head(pool: dict[str, Any], labeled: IndexArray) -> None:
    """Derive prob_samples from embeddings and a head: 16 heads drawn around it, the same ones in every query."""
    if "embeddings" in pool and "head_weight" in pool:
        rows = load_rows(pool["embeddings"], labeled, np.float64)
        posterior = fit_posterior(rows, pool["head_weight"], pool.get("head_bias"))
        pool["prob_samples"] = posterior.prob_samples(pool["embeddings"], HEAD_SAMPLES, rng_for(0, "laplace"))


def _linear(pool: dict[str, Any]) -> LinearLogits:
    weight, shape = np.asarray(pool["head_weight"]), pool["embeddings"].shape
    if len(shape) != 2:
        raise ShapeError(f"embeddings has shape {shape}; expected {ARRAYS['embeddings'].shape}. Pass such an array.")
    width = shape[1]
    if weight.ndim != 2 or weight.shape[1] != width:
        raise ShapeError(f"head_weight has shape {weight.shape}; expected (C, {width}) to fit the embeddings.")
    bias = pool.get("head_bias")
    if bias is not None and np.shape(bias) != (len(weight),):
        raise ShapeError(f"head_bias has shape {np.shape(bias)}; expected ({len(weight)},) to fit head_weight.")
    return LinearLogits(pool["embeddings"], weight, None if bias is None else np.asarray(bias))


_DIMENSIONS = {"embeddings": 2, "logits": 2, "probs": 2, "head_weight": 2, "prob_samples": 3, "noise_deviations": 3}


def _check(
    spec: StrategySpec | DetectorSpec, wanted: Mapping[str, Any], n_items: int, unlabeled: IndexArray, trusted: bool
) -> None:
    for name, value in wanted.items():
        if value is None or name in ("labels", "oracle_labels"):
            continue
        if len(value.shape) != _DIMENSIONS.get(name, 1) or 0 in value.shape[1:]:
            raise ShapeError(f"{name} has shape {value.shape}; expected {ARRAYS[name].shape}. Pass such an array.")
        if ARRAYS[name].per_row and len(value) != n_items:
            raise ShapeError(
                f"{name} has {len(value)} rows and the pool has {n_items}; row i of every array must be item i."
            )
    _check_classes(wanted)
    if not trusted:
        check_values(spec, wanted, unlabeled)


def check_values(
    spec: StrategySpec | DetectorSpec,
    arrays: Mapping[str, Any],
    unlabeled: IndexArray,
    stretch: range | None = None,
) -> None:
    """Look for NaN and inf, once in each stored array; rows that will be streamed are looked at on that way.

    Parameters
    ----------
    unlabeled : rows that a streaming strategy will read
    stretch : rows of the pool to look at; default all

    Raises
    ------
    InputError
        The row is named.
    """
    done: set[int] = set()
    for name, value in arrays.items():
        if value is None or name in ("labels", "oracle_labels"):
            continue
        if isinstance(value, LinearLogits):
            check_block("head_weight", value.head_weight, range(len(value.head_weight)))
            check_block("head_bias", value.head_bias, range(len(value.head_bias)))
        rows, origin = stored(value, name)
        if isinstance(rows, SampledProbs):  # its rows are finite if these are; computing them all would take minutes
            for part, drawn in zip(("weights", "biases"), rows.heads, strict=True):
                check_block(f"{part} of {name}", drawn, range(len(drawn)))
            rows, origin = rows.embeddings, "embeddings"
        if id(rows) in done or not np.issubdtype(rows.dtype, np.floating):
            continue
        done.add(id(rows))
        indices = None
        if ARRAYS[name].per_row:
            whole = range(len(rows)) if stretch is None else stretch
            streamed = spec.streams and not (origin == "probs" and name != "probs")
            indices = _others(unlabeled, whole) if streamed else None
            if indices is None and stretch is not None:
                indices = np.arange(stretch.start, stretch.stop)
        for start, block in iter_blocks(rows, indices):
            pool = range(start, start + len(block)) if indices is None else indices[start : start + len(block)]
            check_block(origin, block, pool, probabilities=origin in PROBABILITIES)


def _others(indices: IndexArray, stretch: range) -> IndexArray:
    """Rows of a stretch that are not among (n,) sorted indices."""
    low, high = np.searchsorted(indices, [stretch.start, stretch.stop])
    inside = indices[low:high]
    if len(inside) == len(stretch):
        return inside[:0]
    mask = np.ones(len(stretch), dtype=bool)
    mask[inside - stretch.start] = False
    return np.flatnonzero(mask) + stretch.start


def _check_classes(wanted: Mapping[str, Any]) -> None:
    logits, weight = wanted.get("logits"), wanted.get("head_weight")
    if logits is not None and weight is not None and logits.shape[1] != weight.shape[0]:
        raise ShapeError(
            f"logits has {logits.shape[1]} classes and head_weight has {weight.shape[0]}; they must agree."
        )
