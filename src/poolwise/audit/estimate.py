"""From a pool to its audit: fit, judge, resample, extrapolate, say what is missing."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from poolwise import loop
from poolwise.audit import counterfactual
from poolwise.audit.record import Audit, CurvePoint, GroupShare, audit_from_dict, stored
from poolwise.audit.rules import Wishes, stopping_rules
from poolwise.chance import rng_for
from poolwise.kernels.blocks import load_rows
from poolwise.progress import task
from poolwise.reserve import audit_order, plan_of, slices, training_state
from poolwise.stats.anytime import alpha_at, share_interval
from poolwise.stats.extrapolate import fit_power
from poolwise.stats.groups import group_accuracy, group_intervals
from poolwise.stats.intervals import Interval
from poolwise.stats.ppi import ppi_mean
from poolwise.stats.stopping import kappa
from poolwise.store.files import write_atomic
from poolwise.store.pool import PoolStore
from poolwise.train.learners import Learner, LinearProbe, Model
from poolwise.types import Array, IndexArray, PoolState

CACHE, VERSION = "audit.json", 3
N_SPLITS, N_SPLITS_PAST = 16, 6
MOST_MODELS = 12
"""So many past models at most are fitted again."""
GAIN_LABELS = 1000
STOP_SET = 2000
POWERED_FROM = 30
"""Below so many audit items the normal approximation of the prediction-powered interval is not shown."""
RESERVE_ROWS = 10_000


def audit(
    store: PoolStore,
    learner: Learner | None = None,
    *,
    target: float | None = None,
    worth: float | None = None,
) -> Audit:
    """Say what the audit items prove about the present model of a pool.

    Parameters
    ----------
    learner : what is fitted on the labels; default: the linear probe
    target : accuracy that would be enough, for the stopping rule about it
    worth : smallest gain in accuracy of the next labels that is worth their price, such as 0.005

    Returns
    -------
    Audit; what cannot be said is in `missing`, with what to do.

    Notes
    -----
    Up to 12 + 5 * 16 + 3 * 7 fits of small linear probes, some seconds; the result is kept in `audit.json` in the
    pool until labels or embeddings change.
    """
    learner = LinearProbe() if learner is None else learner
    wishes = Wishes(target, worth)
    state = training_state(store)
    indices, labels, look = loop.audited(store)
    found = _counts(store, state, indices, look)
    missing = _why_nothing(store, state, found)
    if missing:
        return replace(found, missing=(missing,), rules=stopping_rules(None, (), None, 0, (), wishes))
    key = _key(store, state, indices, labels, learner, wishes)
    kept = _kept(store, key)
    if kept is None:
        kept = _Auditor(store, learner, state, indices, labels, look).run(found, wishes)
        _keep(store, key, kept)
    return kept


def _counts(store: PoolStore, state: PoolState, indices: IndexArray, look: int) -> Audit:
    drawn = slices(store)
    settled = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *(s.indices for s in drawn if s.settled)]))
    everything = store.state()
    answered = np.isin(settled, everything.labeled)
    free = np.isin(settled, everything.unlabeled)  # given back
    return Audit(
        n_trained=len(state.labeled),
        n_audit=len(indices),
        n_skipped=int((~answered & ~free).sum()),
        n_waiting=sum(len(s.indices) for s in drawn if not s.settled),
        look=look if drawn else 0,
    )


def _why_nothing(store: PoolStore, state: PoolState, found: Audit) -> str:
    begin = f"`poolwise query {store.path} --audit 0.05`"
    if plan_of(store) is None:
        return f"How accurate the model is on the whole pool is not known: nothing was audited. Begin with {begin}."
    if not found.n_audit and found.n_waiting:
        return f"Nothing is audited yet: {found.n_waiting} audit items wait in batches that are not fully answered."
    if not found.n_audit and not found.n_skipped and found.look:
        return f"No audit item judges the model: all were given back or are trained on. Audit more with {begin}."
    if not found.n_audit:
        skipped = f" ({found.n_skipped} audit items were skipped)" if found.n_skipped else ""
        return f"Nothing is audited yet{skipped}. Label another batch with {begin}."
    if not loop.has_two_classes(state):
        return "There is no model to audit yet: label items of at least two classes."
    return ""


@dataclass(frozen=True, slots=True)
class _Auditor:
    """Fits and judges; one use for one state of a pool."""

    store: PoolStore
    learner: Learner
    state: PoolState
    indices: IndexArray
    labels: IndexArray
    look: int

    def run(self, found: Audit, wishes: Wishes) -> Audit:
        rng = rng_for(self.store.seed, "audit", self.look, len(self.indices))
        embeddings = loop.embeddings_of(self.store)
        alpha = alpha_at(self.look)
        x = load_rows(embeddings, self.indices)
        order, sizes = self.history()
        with task("audit", len(sizes) + 4) as work:
            models: list[Model] = []
            for size in sizes:
                models.append(self.fit(load_rows(embeddings, order[:size]), self.state.labels[order[:size]]))
                work.advance()
            right = np.stack([self.judge(model, x) for model in models])  # (k, n)
            now = right[-1]
            accuracy = share_interval(int(now.sum()), len(now), look=self.look)
            powered = self.powered(models[-1], now, x, alpha)
            curve = tuple(
                _point(size, share_interval(int(r.sum()), len(r), look=self.look))
                for size, r in zip(sizes, right, strict=True)
            )
            gain, gain_labels = self.gain(sizes, right, alpha, rng)
            work.advance()
            needs, random_curve, missing = self.random_needs(x, now, alpha, rng)
            work.advance()
            gaps, at = self.benefits(x, order, rng)
            work.advance()
            stop_rows = np.argsort(rng_for(self.store.seed, "stop set").random(self.store.n_items))[:STOP_SET]
            held = load_rows(embeddings, np.sort(stop_rows))
            named = [model.probs(held).argmax(axis=1) for model in models[-4:]]
            agreement = tuple(kappa(a, b) for a, b in itertools.pairwise(named))
        return replace(
            found,
            accuracy=accuracy,
            accuracy_powered=powered,
            groups=self.groups(now),
            curve=curve,
            random_curve=random_curve,
            benefit=gaps[-1] if gaps else None,
            benefit_at=at,
            random_needs=needs,
            gain=gain,
            gain_labels=gain_labels,
            rules=stopping_rules(accuracy, agreement, gain, gain_labels, gaps, wishes),
            missing=tuple(missing),
        )

    def fit(self, x: Array, y: IndexArray) -> Model:
        return self.learner.fit(x, y, len(self.store.classes), seed=self.store.seed)

    def judge(self, model: Model, x: Array) -> NDArray[np.float64]:
        right: NDArray[np.float64] = (model.probs(x).argmax(axis=1) == self.labels).astype(np.float64)
        return right

    def history(self) -> tuple[IndexArray, list[int]]:
        """Training items in the order in which they were asked for, and how many there were after each batch."""
        place, batch_of = _places(self.store)
        order = self.state.labeled[np.argsort(place[self.state.labeled], kind="stable")]
        ends = np.flatnonzero(np.diff(batch_of[order], append=-1) != 0) + 1
        y = self.state.labels[order]
        fit = [int(end) for end in ends if end >= 2 and len(np.unique(y[:end])) >= 2]
        if len(fit) > MOST_MODELS:  # the last four, and others spread evenly before them
            early = np.linspace(0, len(fit) - 5, MOST_MODELS - 4).round().astype(int)
            fit = [fit[k] for k in np.unique(early)] + fit[-4:]
        return order, fit

    def groups(self, now: NDArray[np.float64]) -> tuple[GroupShare, ...]:
        """Accuracy of each group that has audit items, if there are two."""
        names = self.store.group_ids()
        found = group_accuracy(np.ones(len(now)), now, [names[i] or "" for i in self.indices.tolist()])
        if len(found.names) < 2:
            return ()
        shares = map(GroupShare, found.names, group_intervals(found, look=self.look))
        return tuple(sorted(shares, key=lambda share: (share.accuracy.high, share.accuracy.mean, share.name)))

    def powered(self, model: Model, now: NDArray[np.float64], x: Array, alpha: float) -> Interval | None:
        plan = plan_of(self.store)
        if plan is None or len(now) < POWERED_FROM:
            return None
        reserve = np.setdiff1d(audit_order(self.store, plan)[:RESERVE_ROWS], self.state.labeled)
        guesses = model.probs(load_rows(loop.embeddings_of(self.store), reserve)).max(axis=1)
        return ppi_mean(now, model.probs(x).max(axis=1), guesses, alpha=alpha, bounds=(0.0, 1.0))

    def gain(
        self, sizes: list[int], right: NDArray[np.float64], alpha: float, rng: np.random.Generator
    ) -> tuple[Interval | None, int]:
        """Extrapolate the models of this pool; the audit items are resampled."""
        more = min(GAIN_LABELS, len(loop.queryable(self.store, self.store.state())))
        if len(sizes) < 3 or len(self.indices) < POWERED_FROM or not more:
            return None, more
        n = len(self.indices)
        weights = np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), size=counterfactual.DRAWS)])
        values = weights @ right.T / n  # (draws + 1, k)
        curves = fit_power(np.array(sizes, dtype=np.float64), values, np.array(sizes, dtype=np.float64))
        gains = curves.at(sizes[-1] + more) - curves.at(sizes[-1])
        return counterfactual.widened(gains, alpha, n), more

    def random_needs(
        self, x: Array, now: NDArray[np.float64], alpha: float, rng: np.random.Generator
    ) -> tuple[Interval | None, tuple[CurvePoint, ...], list[str]]:
        n = len(self.indices)
        if n < counterfactual.FEWEST_ITEMS:
            text = f"What random labeling would have needed can be estimated from {counterfactual.FEWEST_ITEMS} audit "
            left = len(loop.queryable(self.store, self.store.state()))
            more = "Label further batches with --audit." if left else "No unlabeled item is left."
            return None, (), [f"{text}items on; there are {n}. {more}"]
        if len(np.unique(self.labels)) < 2:
            return None, (), ["All audit items are of one class, so random labeling cannot be compared with."]
        random = counterfactual.random_models(
            x,
            self.labels,
            len(self.store.classes),
            self.learner,
            rng=rng,
            seed=self.store.seed,
            sizes=counterfactual.curve_sizes(n),
            n_splits=N_SPLITS,
        )
        needs, curves = counterfactual.labels_needed(random, now, alpha, rng)
        bounds = np.quantile(curves[1:], [alpha / 2, 1 - alpha / 2], axis=0)
        points = tuple(
            CurvePoint(int(size), float(curves[0, k]), float(bounds[0, k]), float(bounds[1, k]))
            for k, size in enumerate(random.sizes)
        )
        total = Interval(needs.mean + n, needs.low + n, needs.high + n, needs.level, n)
        return total, points, []

    def benefits(self, x: Array, order: IndexArray, rng: np.random.Generator) -> tuple[tuple[Interval, ...], int]:
        """Compare strategy and random at equal numbers of labels, as of each of the last three slices."""
        drawn = [s for s in slices(self.store) if s.settled]
        rows = loop.embeddings_of(self.store)
        batch_of = _places(self.store)[1][order]
        found: list[Interval] = []
        at = 0
        for back in range(min(3, len(drawn)) - 1, -1, -1):
            upto = drawn[: len(drawn) - back]
            known = np.isin(self.indices, np.concatenate([s.indices for s in upto]))
            asked = int((batch_of <= upto[-1].batch).sum())
            size = min(int(counterfactual.LARGEST * known.sum()), asked)
            picks = order[:size]
            few = known.sum() < counterfactual.FEWEST_ITEMS or size < 10
            if few or min(len(np.unique(y)) for y in (self.labels[known], self.state.labels[picks])) < 2:
                continue
            random = counterfactual.random_models(
                x[known],
                self.labels[known],
                len(self.store.classes),
                self.learner,
                rng=rng,
                seed=self.store.seed,
                sizes=np.array([size]),
                n_splits=N_SPLITS if back == 0 else N_SPLITS_PAST,
            )
            strategy = self.fit(load_rows(rows, picks), self.state.labels[picks])
            hits = (strategy.probs(x[known]).argmax(axis=1) == self.labels[known]).astype(np.float64)
            found.append(counterfactual.benefit(random, hits, alpha_at(len(upto)), rng))
            at = size
        return tuple(found), at


def _places(store: PoolStore) -> tuple[IndexArray, IndexArray]:
    """Say when each item was asked for last, and in which batch: (N,) rank, -1 for never; (N,) number, 0 for never."""
    place = np.full(store.n_items, -1, dtype=np.int64)
    batch_of = np.zeros(store.n_items, dtype=np.int64)
    start = 0
    for batch in store.batches():
        picks = batch.selection.indices
        place[picks] = start + np.arange(len(picks))
        batch_of[picks] = batch.number
        start += len(picks)
    return place, batch_of


def _point(size: int, found: Interval) -> CurvePoint:
    return CurvePoint(size, found.mean, found.low, found.high)


def _key(
    store: PoolStore, state: PoolState, indices: IndexArray, labels: IndexArray, learner: Learner, wishes: Wishes
) -> str:
    """Digest of all that an audit follows from."""
    facts = [VERSION, store.n_items, loop.embeddings_name(store), repr(learner), repr(wishes), len(store.batches())]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for array in (state.labeled, state.labels[state.labeled], indices, labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _kept(store: PoolStore, key: str) -> Audit | None:
    path = store.path / CACHE
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return audit_from_dict(record["audit"]) if record["key"] == key else None
    except (ValueError, KeyError, TypeError):  # another version's, or damaged: it is computed anew
        return None


def _keep(store: PoolStore, key: str, found: Audit) -> None:
    if store.writable:
        text = json.dumps({"key": key, "audit": stored(found)}, allow_nan=False)
        write_atomic(store.path / CACHE, text.encode())
