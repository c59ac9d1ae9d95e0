"""One round, and a run of rounds: the only place where store, model and strategy meet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from poolwise.chance import rng_for
from poolwise.errors import ArrayMissingError, BudgetError, InputError, ShapeError
from poolwise.kernels.blocks import as_rows, load_rows, read_rows
from poolwise.progress import task
from poolwise.query import HERE, Where, check_whole, choose, group_numbers
from poolwise.reduce import NEEDS
from poolwise.registry import DETECTORS, STRATEGIES, StrategySpec, check_options
from poolwise.reserve import Draw, draw, mix, plan_of, set_plan, slices, training_state
from poolwise.stats.anytime import share_interval
from poolwise.stats.balance import class_entropy, mean_class_accuracy
from poolwise.store.pool import PoolStore
from poolwise.train.embed import EMBEDDED
from poolwise.train.learners import Learner, LinearProbe, Model
from poolwise.train.linear_probe import LinearHead, out_of_fold_logits
from poolwise.train.pool_inputs import PoolInputs
from poolwise.train.sample import SampleReport, sample_pool, sampler_named, stored_samples
from poolwise.types import NOT_OF_INTEREST, SKIP, Annotation, Array, IndexArray, PoolState, Rows, Selection

COSTS = "costs"
"""Name of the pool's array of prices."""

MODEL_ARRAYS = {"logits", "probs", "head_weight", "head_bias", "prob_samples"}
SAMPLED_ARRAYS = {"prob_samples", "noise_deviations"}

Answers = Callable[[IndexArray], Sequence[Annotation]]
"""An oracle: from (n,) pool indices to their annotations."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model fitted on the labels of a pool, and what is known about its quality.

    model : has `probs(x)`; a linear one also `head_weight` and `head_bias`
    digest : tells models apart
    metrics : `accuracy_out_of_fold` on the labeled items (a chosen, so a biased, sample); with audited
        items `accuracy_audit` with `_low` and `_high`, also as `accuracy`; with a held-out part
        `accuracy` and `mean_class_accuracy` are those of it
    """

    model: Model
    digest: str
    metrics: Mapping[str, float]
    seconds: float


def embeddings_of(store: PoolStore) -> Rows:
    """Open the pool's current embeddings.

    Raises
    ------
    ArrayMissingError
        If there are none, or rows are missing since items were added; names the command to run.
    """
    name = embeddings_name(store)
    if name is None:
        raise ArrayMissingError(f"pool {store.name!r} has no embeddings; make them with `poolwise embed {store.path}`.")
    missing = store.arrays.missing_rows(name, store.n_items)
    if missing:
        raise ArrayMissingError(
            f"{sum(len(rows) for rows in missing)} of {store.n_items} items of pool {store.name!r} have no embedding; "
            f"finish with `poolwise embed {store.path}`."
        )
    return store.arrays.read(name, store.n_items)


def embeddings_name(store: PoolStore) -> str | None:
    """Full name of the pool's current embeddings, or None if none were finished or begun."""
    record = store.settings.get(EMBEDDED, {}).get("embeddings")
    return None if record is None else str(record["array"])


def groups_of(store: PoolStore) -> IndexArray:
    """Group (patient, video, ...) of every item as a number, (N,); an item without one is a group of its own.

    Raises
    ------
    ArrayMissingError
        If no item of the pool has a group.
    """
    groups = store.group_ids()
    if not any(groups):
        raise ArrayMissingError(
            f"max_per_group needs groups, and no item of pool {store.name!r} has one; name the column of groups when "
            "the items are listed, with `poolwise init POOL --table FILE --group-column COLUMN`."
        )
    return group_numbers(np.array([group or "" for group in groups]))


def costs_of(store: PoolStore) -> Array | None:
    """Price of labeling each item, (N,), or None if the pool has no prices.

    Raises
    ------
    ArrayMissingError
        If items were added since the prices were given.
    """
    if COSTS not in store.arrays:
        return None
    missing = sum(len(rows) for rows in store.arrays.missing_rows(COSTS, store.n_items))
    if missing:
        raise ArrayMissingError(
            f"{missing} of {store.n_items} items of pool {store.name!r} have no price, because they were added later; "
            f"give all prices again with `poolwise query {store.path} --costs FILE`, or leave them with --no-costs."
        )
    return np.asarray(store.arrays.read(COSTS, store.n_items)[:])


def set_costs(store: PoolStore, costs: Any) -> None:
    """Keep the price of labeling each item, (N,) > 0 in float32, for all queries to come; None forgets the prices.

    Raises
    ------
    ShapeError, InputError
        If there is not one price per item, or one is not above 0; the item is named.
    """
    if costs is None:
        store.arrays.remove(COSTS)
        return
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, which is refused below
        values = np.asarray(as_rows(costs, "costs"), dtype=np.float32)
    if values.shape != (store.n_items,):
        raise ShapeError(
            f"costs has shape {values.shape}; expected ({store.n_items},), one price per item of pool {store.name!r}. "
            "Give a price for every item."
        )
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(wrong):
        raise InputError(
            f"costs of item {store.item_ids([wrong[0]])[0]!r} is {values[wrong[0]]}; every cost must be above 0 "
            "and finite. Repair it."
        )
    store.arrays.write(COSTS, values, dtype=np.float32, replace=True)


def queryable(store: PoolStore, state: PoolState) -> IndexArray:
    """Unlabeled items that may be asked for, which excludes those held out for testing."""
    held_out = store.settings.get("held_out", {}).get("indices", [])
    return np.setdiff1d(state.unlabeled, np.array(held_out, dtype=np.int64), assume_unique=True)


def sample(
    store: PoolStore,
    source: str,
    *,
    samples: int | None = None,
    seed: int | None = None,
    network: Any = None,
    prepare: Callable[[Any], Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> SampleReport:
    """Sample models on the labels of a pool, and keep what they say about every item; see `train.sample`.

    Parameters
    ----------
    source : a name of `train.sample.SAMPLERS`
    samples : S; default as the sampler says
    seed : default that of the pool
    network : trained on these labels; default small heads on the embeddings
    prepare : turns the content of an item into an input of the network; default: it gets the embeddings
    options : of the sampler

    Raises
    ------
    InputError
        If heads are to be fitted and fewer than two classes are labeled.
    UnknownNameError, OptionError, ArrayMissingError, MissingExtraError
    """
    sampler_named(source)
    state = training_state(store)
    if network is None and prepare is not None:
        raise InputError("prepare opens items for a network; got no network. Pass network=..., or leave prepare out.")
    if network is None and not has_two_classes(state):
        raise InputError(_too_few(store, state))
    return sample_pool(
        store,
        state,
        embeddings_of(store) if prepare is None else PoolInputs(store, prepare),
        source,
        samples=samples,
        seed=store.seed if seed is None else seed,
        network=network,
        embeddings=embeddings_name(store) if prepare is None else None,
        options=options or {},
    )


def waiting(store: PoolStore) -> IndexArray:
    """Items that were asked for and have no answer yet, oldest batch first."""
    batches = [batch.unanswered for batch in store.batches(open_only=True)]
    return np.concatenate(batches) if batches else np.empty(0, dtype=np.int64)


def fit(store: PoolStore, state: PoolState | None = None, learner: Learner | None = None) -> Fitted:
    """Fit a model (default: the linear probe) on the labeled items, except those that audit it, and measure it.

    The same labels, embeddings and learner give the same model, so nothing has to be stored to resume.

    Raises
    ------
    InputError
        If fewer than two classes are labeled.
    """
    start = time.perf_counter()
    state = training_state(store, state)
    learner = LinearProbe() if learner is None else learner
    y = state.labels[state.labeled]
    if not has_two_classes(state):
        raise InputError(_too_few(store, state))
    embeddings = embeddings_of(store)
    x = load_rows(embeddings, state.labeled)  # (L, D)
    n_classes = len(store.classes)
    model = learner.fit(x, y, n_classes, seed=store.seed)
    metrics = {
        "class_entropy": class_entropy(y, n_classes),
        **_out_of_fold(learner, x, y, n_classes, store.seed),
        **_audited(store, model, embeddings),
        **_held_out(store, model, embeddings),
    }
    digest = model.digest if isinstance(model, LinearHead) else type(model).__name__
    return Fitted(model, digest, metrics, time.perf_counter() - start)


def _too_few(store: PoolStore, state: PoolState) -> str:
    n_classes = len(np.unique(state.labels[state.labeled]))
    return (
        f"pool {store.name!r} has {len(state.labeled)} labels of {n_classes} class(es); a model needs 2 classes. "
        f"Label some first: `poolwise query {store.path} --strategy typiclust`, then `poolwise import`."
    )


def has_two_classes(state: PoolState) -> bool:
    """Whether a classifier can be fitted at all."""
    return len(np.unique(state.labels[state.labeled])) >= 2


def query(
    store: PoolStore,
    strategy: str,
    *,
    batch_size: int,
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
    learner: Learner | None = None,
    audit: float | bool | None = None,
    audit_min: int | None = None,
    audit_train: int | None = None,
    ood: str | None = None,
    where: Where = HERE,
) -> Selection:
    """Choose the next batch with the current labels, and record it as asked.

    A head is fitted first if the strategy needs one. A batch that was chosen but not recorded (a
    crash) is chosen again identically, because its seed follows from the pool's and its number.

    Parameters
    ----------
    batch_size : B, items to ask for, those of the audit slice included
    audit, audit_min, audit_train : share of the batch that is drawn at random to judge the model, smallest
        such slice, rounds after which its items are trained on; None keeps what the pool
        remembers, which begins as no audit. See `reserve.set_plan`
    ood : a detector; items that it flags as foreign are not offered to the strategy
    where : workers that share the rows; the batch stays the same

    Raises
    ------
    UnknownNameError, OptionError, ArrayMissingError, BudgetError
    """
    spec = STRATEGIES[strategy]
    if spec.oracle:
        raise InputError(f"strategy {strategy!r} reads true labels, so it works only in benchmarks, not on a pool.")
    checked = check_options(spec, dict(options or {}))
    set_plan(store, queryable(store, store.state()), share=audit, minimum=audit_min, train_after=audit_train)

    def chosen(state: PoolState, batch_seed: int) -> Selection:
        return choose_batch(store, spec, state, batch_size, batch_seed, checked, learner, ood, where)

    return store.ask(chosen, seed=seed).selection


def choose_batch(
    store: PoolStore,
    spec: StrategySpec,
    state: PoolState,
    batch_size: int,
    seed: int,
    options: Mapping[str, Any],
    learner: Learner | None = None,
    ood: str | None = None,
    where: Where = HERE,
) -> Selection:
    """Choose a batch for one state of the pool, with its audit slice drawn first, without recording it."""
    free = queryable(store, state)
    check_whole("batch_size", batch_size)
    if not 1 <= batch_size <= len(free):
        asked = len(waiting(store))
        if not len(free) and not asked:
            raise BudgetError(
                f"no item is left to ask for: all {store.n_items} are labeled or set aside; got batch_size "
                f"{batch_size}. Add items with `poolwise add {store.path}`."
            )
        hint = f"{asked} asked items still wait for their labels; import them" if asked else "Ask for fewer items"
        raise BudgetError(f"batch_size must be between 1 and {len(free)} (unlabeled items); got {batch_size}. {hint}.")
    drawn = draw(store, free, batch_size)
    picks = _pick(store, spec, training_state(store, state), drawn, batch_size, seed, options, learner, ood, where)
    return mix(picks, drawn, rng_for(seed, "audit places"))


def _pick(
    store: PoolStore,
    spec: StrategySpec,
    state: PoolState,
    drawn: Draw,
    batch_size: int,
    seed: int,
    options: Mapping[str, Any],
    learner: Learner | None,
    ood: str | None,
    where: Where,
) -> Selection:
    """Let the strategy choose what the audit leaves of a batch, from what the audit leaves of the pool."""
    arrays: dict[str, Any] = {}
    detector = None if ood is None else DETECTORS[ood]
    needs = {*spec.needs, *(() if detector is None else detector.needs)}
    wanted = {*needs, *spec.uses, *NEEDS[options.get("within", "all")], *(() if detector is None else detector.uses)}
    stored, notes = _stored(store, state, wanted, needs)
    arrays.update(stored)
    wanted, needs = wanted - set(stored), needs - set(stored)
    if wanted & {"embeddings", *MODEL_ARRAYS}:
        arrays["embeddings"] = embeddings_of(store)
    if needs & MODEL_ARRAYS or (wanted & MODEL_ARRAYS and has_two_classes(state)):
        arrays.update(_model_arrays(fit(store, state, learner).model, arrays["embeddings"], len(store.classes)))
    known = {
        "labeled": state.labeled,
        "unlabeled": drawn.unlabeled,
        "labels": state.labels,
        "foreign": state.rejected,
        "history": _history(store, spec),
    }
    if "groups" in needs or options.get("max_per_group") is not None:
        arrays["groups"] = groups_of(store)
    costs = costs_of(store)
    if costs is not None:
        arrays["costs"] = costs
    count = batch_size - len(drawn.audit)
    picks = choose(
        spec, arrays, known, batch_size=count, seed=seed, options=options, ood=ood, trusted=True, where=where
    )
    return replace(picks, notes={**picks.notes, **notes}) if notes else picks


def _stored(
    store: PoolStore, state: PoolState, wanted: set[str], needs: set[str]
) -> tuple[dict[str, Rows], dict[str, str]]:
    """Arrays of sampled models that a strategy wants and the pool has fresh, and notes on them for the batch."""
    found: dict[str, Rows] = {}
    notes: dict[str, str] = {}
    for kind in sorted(wanted & SAMPLED_ARRAYS):
        rows, said = stored_samples(store, state, kind, embeddings_name(store))
        notes |= said
        if rows is not None:
            found[kind] = rows
        elif said and kind in needs - MODEL_ARRAYS:  # nothing else can stand in for it
            raise ArrayMissingError(f"{kind} of pool {store.name!r} cannot be used; {next(iter(said.values()))}.")
    return found, notes


def _history(store: PoolStore, spec: StrategySpec) -> list[Selection]:
    """Past batches of a strategy that wants to see them, oldest first; there are no others before it chooses."""
    if "history" not in spec.takes_state:
        return []
    return [batch.selection for batch in store.batches() if batch.selection.strategy == spec.name]


def _model_arrays(model: Model, embeddings: Rows, n_classes: int) -> dict[str, Any]:
    """What a strategy may get of a model: its head if it is linear, else its probabilities, row by row."""
    weight = getattr(model, "head_weight", None)
    if weight is not None:
        return {"head_weight": weight, "head_bias": getattr(model, "head_bias", None)}
    return {"probs": ModelProbs(embeddings, model, n_classes)}


class ModelProbs:
    """(N, C) probabilities that a model computes from embeddings when they are read."""

    def __init__(self, embeddings: Rows, model: Model, n_classes: int) -> None:
        self.embeddings = embeddings
        self.model = model
        self.shape = (len(embeddings), n_classes)
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Array:
        return self.model.probs(read_rows(self.embeddings, key))


def close_round(store: PoolStore, budget_left: int = 0, learner: Learner | None = None) -> Fitted:
    """Fit on all labels and seal the round with what its model scored."""
    fitted = fit(store, learner=learner)
    metrics = {**fitted.metrics, "seconds_fit": fitted.seconds}
    store.record_round(metrics, digest=fitted.digest, budget_left=budget_left)
    return fitted


def run(
    store: PoolStore,
    strategy: str,
    *,
    batch_size: int,
    budget: int,
    oracle: Answers | None = None,
    first: str = "typiclust",
    options: Mapping[str, Any] | None = None,
    wait: Callable[[], None] | None = None,
    learner: Learner | None = None,
    audit: float | bool | None = None,
    audit_min: int | None = None,
    audit_train: int | None = None,
) -> bool:
    """Query, label, retrain and evaluate until `budget` items are labeled.

    Each step is sealed on disk before the next begins, so a stopped run continues from the last
    sealed step and gives the same answer.

    Parameters
    ----------
    oracle : answers at once (simulation); None leaves the answers to people
    first : strategy while fewer than two classes are labeled and `strategy` needs a model
    wait : called again and again while people answer; None returns instead
    audit, audit_min, audit_train : as for `query`; audited items count towards the budget

    Returns
    -------
    True if the budget is spent (or nothing is left to ask), False if labels are awaited.
    """
    spec = STRATEGIES[strategy]
    check_options(spec, dict(options or {}))
    set_plan(store, queryable(store, store.state()), share=audit, minimum=audit_min, train_after=audit_train)
    with task(f"{strategy}: labels", budget) as progress:
        while True:
            asked = waiting(store)
            if len(asked) and oracle is not None:
                store.annotate(oracle(asked))
                continue
            if len(asked):
                if wait is None:
                    return False
                wait()
                continue
            state = store.state()
            progress.advance(min(len(state.labeled), budget) - progress.done)
            trained = has_two_classes(training_state(store, state))
            if trained and _has_news(store, state):
                close_round(store, max(0, budget - len(state.labeled)), learner)
            left = min(batch_size, budget - len(state.labeled), len(queryable(store, state)))
            if left <= 0:
                return True
            ready = trained or not set(spec.needs) & MODEL_ARRAYS
            name, chosen = (strategy, options) if ready else (first, None)
            query(store, name, batch_size=left, options=chosen, learner=learner)


def catch_up(store: PoolStore, learner: Learner | None = None) -> bool:
    """Seal the round under way if labels have come since the last one and a model can be fitted on them.

    Returns
    -------
    Whether a round was sealed.
    """
    state = store.state()
    name = embeddings_name(store)
    if name is None or store.arrays.missing_rows(name, store.n_items) or not _has_news(store, state):
        return False
    if not has_two_classes(training_state(store, state)):
        return False
    close_round(store, learner=learner)
    return True


def hold_out(store: PoolStore, truth: Mapping[int, str], share: float) -> int:
    """Keep a random part of the items with known labels aside as test set, once; they are never queried.

    Parameters
    ----------
    truth : answer of each item that is known; what is of no class of interest cannot be tested and is left out
    share : part of the others to keep aside, 0 <= share < 1; at most 10,000 items

    Returns
    -------
    Number of items held out.
    """
    if "held_out" not in store.settings:
        known = np.array(sorted(i for i in truth if truth[i] not in (SKIP, NOT_OF_INTEREST)), dtype=np.int64)
        known = np.intersect1d(known, store.state().unlabeled)
        count = min(10_000, round(share * len(known)))
        chosen = np.sort(rng_for(store.seed, "held-out").permutation(known)[:count])
        store.settings["held_out"] = {"indices": chosen.tolist(), "labels": [truth[i] for i in chosen.tolist()]}
    return len(store.settings["held_out"]["indices"])


def simulated(truth: Mapping[int, str]) -> Answers:
    """Answer from known labels, as a perfect annotator would; an item without one is skipped."""
    return lambda indices: [Annotation(i, truth.get(i, SKIP), "oracle", source="simulated") for i in indices.tolist()]


def _has_news(store: PoolStore, state: PoolState) -> bool:
    rounds = store.rounds()
    return not rounds or rounds[-1].n_labeled != len(state.labeled)


def _out_of_fold(learner: Learner, x: Array, y: IndexArray, n_classes: int, seed: int) -> dict[str, float]:
    """Accuracy on labeled items that the model did not see: 4 folds, each as mixed as a random draw."""
    if len(y) < 8:
        return {}
    if isinstance(learner, LinearProbe):  # all folds in one solve
        predicted = out_of_fold_logits(x, y, n_classes, seed=seed).argmax(axis=1)
        return {"accuracy_out_of_fold": float((predicted == y).mean())}
    fold = rng_for(seed, "out-of-fold").permutation(len(y)) % 4
    right = np.zeros(len(y), dtype=bool)
    for k in range(4):
        train = fold != k
        if len(np.unique(y[train])) >= 2:
            model = learner.fit(x[train], y[train], n_classes, seed=seed)
            right[~train] = model.probs(x[~train]).argmax(axis=1) == y[~train]
    return {"accuracy_out_of_fold": float(right.mean())}


def audited(store: PoolStore, as_of: int | None = None) -> tuple[IndexArray, IndexArray, int]:
    """List the answered items of settled audit slices that judge models (at the start of round `as_of`).

    Returns
    -------
    indices : (n,) int64, in the order of drawing
    labels : (n,) int64
    look : number of settled slices, which is how often an estimate could be looked at
    """
    state = store.state(as_of)
    past = [s for s in slices(store) if s.settled and (as_of is None or s.round < as_of)]
    plan, now = plan_of(store), store.current_round if as_of is None else as_of
    after = None if plan is None else plan.train_after
    kept = [s.indices for s in past if after is None or now - s.round < after]
    indices = np.concatenate([np.empty(0, dtype=np.int64), *kept])
    indices = indices[state.labels[indices] >= 0]
    _, first = np.unique(indices, return_index=True)  # an item that was given back and drawn again counts once
    indices = indices[np.sort(first)]
    return indices, state.labels[indices], max(1, len(past))


def can_judge(store: PoolStore) -> bool:
    """Whether the pool is audited and every item has its embedding, which an audit reads."""
    name = embeddings_name(store)
    return plan_of(store) is not None and name is not None and not store.arrays.missing_rows(name, store.n_items)


def _audited(store: PoolStore, model: Model, embeddings: Rows) -> dict[str, float]:
    indices, labels, look = audited(store)
    if not len(indices):
        return {}
    right = int((model.probs(load_rows(embeddings, indices)).argmax(axis=1) == labels).sum())
    found = share_interval(right, len(indices), look=look)
    ends = {"": found.mean, "_low": found.low, "_high": found.high}
    names = ("accuracy", "accuracy_audit") if "held_out" not in store.settings else ("accuracy_audit",)
    return {name + end: value for name in names for end, value in ends.items()}


def _held_out(store: PoolStore, model: Model, embeddings: Rows) -> dict[str, float]:
    held_out = store.settings.get("held_out")
    if not held_out or not held_out["indices"]:
        return {}
    numbers = {name: number for number, name in enumerate(store.classes)}
    names = sorted(set(held_out["labels"]) - set(numbers))  # classes nobody has labeled yet cannot be right
    numbers |= {name: len(numbers) + k for k, name in enumerate(names)}
    truth = np.array([numbers[name] for name in held_out["labels"]], dtype=np.int64)
    predicted = model.probs(load_rows(embeddings, np.array(held_out["indices"], dtype=np.int64))).argmax(axis=1)
    return {
        "accuracy": float((predicted == truth).mean()),
        "mean_class_accuracy": mean_class_accuracy(truth, predicted, len(numbers)),
    }
