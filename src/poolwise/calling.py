"""Call a strategy, and do around it what is the same for every strategy: reduce the pool, weigh prices, limit groups.

Strategies know nothing of this. Acquisitions are scored once, so prices, chance and limits act on exact scores. A
strategy that chooses a set is asked for more than is wanted where prices matter, and again where groups are full.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from poolwise.chance import rng_for
from poolwise.errors import ArrayMissingError, BudgetError, OptionError
from poolwise.kernels.batches import from_zero, perturbed, within_limit
from poolwise.kernels.sampling import Judged, Screened, best_first, stream_scores, stream_top
from poolwise.kernels.scores_device import twin_of
from poolwise.reduce import narrow
from poolwise.registry import StrategySpec
from poolwise.types import ARRAYS, Array, FloatArray, IndexArray, Picks, QueryContext, Rows

OVERASK = 4
"""Where prices matter, a set-wise strategy is asked for so many times the batch, and the best buys are kept."""


def call(spec: StrategySpec, context: QueryContext, batch_size: int, seed: int, options: Mapping[str, Any]) -> Picks:
    """Call a strategy on a validated context.

    Parameters
    ----------
    options : checked options; those in `spec.lifted` are obeyed here, the others go to the function

    Returns
    -------
    Picks with `batch_size` indices.

    Raises
    ------
    BudgetError
        If limits per group leave fewer items than are asked for.
    ArrayMissingError
        If max_per_group is given without groups.
    """
    own = {key: value for key, value in options.items() if key in spec.options}
    lifted = {name: option.default for name, option in spec.lifted.items()}
    lifted |= {key: value for key, value in options.items() if key in spec.lifted}
    notes: dict[str, Any] = {}
    if lifted.get("within", "all") != "all":
        context, notes = _narrowed(context, lifted["within"], lifted["keep"], batch_size, seed)
    limit = lifted.get("max_per_group")
    groups = None if limit is None else _groups(context, limit, batch_size)
    if spec.kind == "acquisition":
        picks = _call_acquisition(spec, context, batch_size, seed, own, lifted, groups)
    elif groups is None:
        picks = _call_set_wise(spec, context, batch_size, rng_for(seed, "query"), own)
    else:
        picks = _refill(spec, context, batch_size, rng_for(seed, "query"), own, groups, lifted["max_per_group"])
    return replace(picks, notes={**picks.notes, **notes}) if notes else picks


def _narrowed(
    context: QueryContext, method: str, keep: int | None, batch_size: int, seed: int
) -> tuple[QueryContext, dict[str, Any]]:
    arrays = {**context.arrays, **context.extra}
    kept = narrow(
        method,
        labeled=context.labeled,
        unlabeled=context.unlabeled,
        batch_size=batch_size,
        keep=keep,
        rng=rng_for(seed, "reduce"),
        embeddings=arrays.get("embeddings"),
        probs=arrays.get("probs"),
        labels=arrays.get("labels"),
    )
    notes = {"within": method, "kept": len(kept), "dropped": len(context.unlabeled) - len(kept)}
    return replace(context, unlabeled=kept), notes


def _groups(context: QueryContext, limit: int, batch_size: int) -> IndexArray:
    groups = context.extra.get("groups", context.arrays.get("groups"))
    if groups is None:
        raise ArrayMissingError("max_per_group needs groups (N,), which is missing; supply it with groups=....")
    if limit < 1:
        raise OptionError(f"max_per_group must be at least 1; got {limit}. Leave it out for no limit.")
    groups = np.asarray(groups)
    _, sizes = np.unique(groups[context.unlabeled], return_counts=True)
    most = int(np.minimum(sizes, limit).sum())
    if most < batch_size:
        raise BudgetError(
            f"max_per_group={limit} leaves {most} of {len(context.unlabeled)} items in {len(sizes)} groups; "
            f"expected at least batch_size = {batch_size}. Raise max_per_group, or ask for fewer items."
        )
    return groups


def _call_acquisition(
    spec: StrategySpec,
    context: QueryContext,
    batch_size: int,
    seed: int,
    own: Mapping[str, Any],
    lifted: Mapping[str, Any],
    groups: IndexArray | None,
) -> Picks:
    extra: dict[str, Any] = dict(own) | ({"rng": rng_for(seed, "query")} if spec.takes_rng else {})
    score, per_row = row_scorer(spec, context.arrays, extra)
    noise, costs = lifted.get("stochastic", "none"), context.extra.get("costs")
    free = context.unlabeled
    if noise == "none" and costs is None and groups is None:
        return Picks(*stream_top(score, per_row, free, batch_size))
    scores = stream_scores(score, per_row, free)
    key = scores if costs is None else from_zero(scores) / costs[free]
    key = perturbed(key, noise, lifted.get("beta", 1.0), free, rng_for(seed, "stochastic"))
    order = best_first(key, free, batch_size if groups is None else len(free))
    if groups is not None:
        order = order[within_limit(groups[free[order]], lifted["max_per_group"])[:batch_size]]
    components: dict[str, Array] = {} if key is scores else {"key": key[order]}
    return Picks(free[order], scores[order], components | _facts(free[order], costs, groups))


def row_scorer(
    spec: StrategySpec, arrays: Mapping[str, Any], extra: Mapping[str, Any]
) -> tuple[Callable[..., FloatArray], dict[str, Rows]]:
    """Return the score of an acquisition, with all but its per-row arrays filled in, and those arrays."""
    whole = {k: v for k, v in arrays.items() if v is None or not ARRAYS[k].per_row}
    per_row = {k: v for k, v in arrays.items() if k not in whole}
    if spec.from_logits is not None and "logits" in per_row:
        score = functools.partial(spec.from_logits, **whole, **extra)
        if spec.misses is None:
            return score, per_row
        return Screened(score, there=twin_of(score), misses=spec.misses, mass=True), per_row
    score = functools.partial(spec.function, **whole, **extra)
    return score if spec.judged is None else Judged(score, spec.judged, spec.float32_error), per_row


def _call_set_wise(
    spec: StrategySpec, context: QueryContext, count: int, rng: np.random.Generator, own: Mapping[str, Any]
) -> Picks:
    """Ask a set-wise strategy; with prices, ask for more and keep the best places for the money."""
    costs = context.extra.get("costs")
    if costs is None:
        return _ask(spec, context, count, rng, own)
    asked = min(OVERASK * count, len(context.unlabeled))
    picks = _ask(spec, context, asked, rng, own)
    key = (asked - np.arange(asked)) / asked / costs[picks.indices]
    kept = np.lexsort((np.arange(asked), -key))[:count]
    return _take(picks, kept, {"key": key[kept], **_facts(picks.indices[kept], costs, None)})


def _ask(
    spec: StrategySpec, context: QueryContext, count: int, rng: np.random.Generator, own: Mapping[str, Any]
) -> Picks:
    extra: dict[str, Any] = dict(own) | ({"rng": rng} if spec.takes_rng else {})
    state = {key: getattr(context, key) for key in spec.takes_state}
    answer = spec.function(**context.arrays, **state, batch_size=count, **extra)
    return answer if isinstance(answer, Picks) else Picks(np.asarray(answer))


def _refill(
    spec: StrategySpec,
    context: QueryContext,
    batch_size: int,
    rng: np.random.Generator,
    own: Mapping[str, Any],
    groups: IndexArray,
    limit: int,
) -> Picks:
    """Ask, keep what the limits allow, take full groups out, and ask again for what is missing.

    Items already kept count as labeled in later questions, unless the strategy would look up their labels.
    """
    names_labels = "labels" in (*spec.needs, *spec.uses)
    parts: list[Picks] = []
    taken = np.empty(0, dtype=np.int64)
    free, labeled = context.unlabeled, context.labeled
    while len(taken) < batch_size:
        now = replace(context, unlabeled=free, labeled=labeled)
        picks = _call_set_wise(spec, now, min(batch_size - len(taken), len(free)), rng, own)
        allowed = within_limit(groups[np.concatenate([taken, picks.indices])], limit)
        kept = allowed[allowed >= len(taken)] - len(taken)
        parts.append(_take(picks, kept, {"group": groups[picks.indices[kept]]}))
        taken = np.concatenate([taken, picks.indices[kept]])
        names, counts = np.unique(groups[taken], return_counts=True)
        full = np.isin(groups[free], names[counts >= limit])
        free = free[~full & ~np.isin(free, taken)]
        labeled = labeled if names_labels else np.union1d(context.labeled, taken)
    scores = [part.scores for part in parts if part.scores is not None]
    return Picks(
        taken,
        np.concatenate(scores) if len(scores) == len(parts) else None,
        {name: np.concatenate([part.components[name] for part in parts]) for name in parts[0].components},
        {**parts[0].notes, "rounds": len(parts)},
    )


def _take(picks: Picks, kept: IndexArray, more: Mapping[str, Array]) -> Picks:
    """Keep some picks, with their scores and components, and add components."""
    return Picks(
        picks.indices[kept],
        None if picks.scores is None else np.asarray(picks.scores)[kept],
        {**{name: np.asarray(values)[kept] for name, values in picks.components.items()}, **more},
        picks.notes,
    )


def _facts(indices: IndexArray, costs: FloatArray | None, groups: IndexArray | None) -> dict[str, Array]:
    found: dict[str, Array] = {} if costs is None else {"cost": costs[indices]}
    return found if groups is None else found | {"group": groups[indices]}
