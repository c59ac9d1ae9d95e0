"""How a selection is shared among ranks: each form has a part (what a rank does) and a lead (who decides).

Split by rows, the decisions are those of the strategy's own module, so the picks equal those of one process. What
cannot be split is chosen by a single rank. In two rounds every rank chooses among its own rows first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from poolwise.calling import call, row_scorer
from poolwise.chance import rng_for
from poolwise.kernels.d2 import d2_sample
from poolwise.kernels.distances import UnitRows
from poolwise.kernels.envelope_device import envelope_of
from poolwise.kernels.kcenter import k_center
from poolwise.kernels.kcenter_part import Part
from poolwise.kernels.sampling import best_first, stream_top
from poolwise.kernels.scores import Boundaries
from poolwise.kernels.sides import Sides
from poolwise.kernels.team import Team
from poolwise.kernels.vectors import GradientVectors
from poolwise.registry import StrategySpec
from poolwise.strategies import badge as badge_strategy
from poolwise.strategies import base as base_strategy
from poolwise.strategies import mase as mase_strategy
from poolwise.types import ARRAYS, FloatArray, IndexArray, Picks, QueryContext, Rows, Selection

NOTHING = np.empty(0, dtype=np.int64)

Mode = Literal["split", "alone", "rounds"]


@dataclass(frozen=True, slots=True)
class Job:
    """One selection as one rank sees it.

    arrays : as the strategy named them; opened, but only rows of this rank are read (rank 0: picked ones too)
    labeled : (L,) int64 pool indices
    mine : (u,) int64 pool indices that this rank may put forward
    stretch : rows of the pool whose values this rank checks
    options : all options of the strategy, and those around it that were given
    before : (b,) int64, picks of an interrupted run
    unlabeled : (U,) int64, at rank 0; empty elsewhere
    on_picks : told of the picks so far, at rank 0
    mode : how the work is shared, see `form_of`
    extra, history : as in `QueryContext`; for a rank that chooses alone
    """

    spec: StrategySpec
    arrays: Mapping[str, Any]
    labeled: IndexArray
    mine: IndexArray
    stretch: range
    batch_size: int
    seed: int
    options: Mapping[str, Any]
    before: IndexArray = field(default_factory=lambda: NOTHING)
    unlabeled: IndexArray = field(default_factory=lambda: NOTHING)
    on_picks: Callable[[IndexArray], None] | None = None
    mode: Mode = "split"
    extra: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Selection, ...] = ()

    def rng(self) -> np.random.Generator:
        """Return the stream that the strategy would get in one process."""
        return rng_for(self.seed, "query")


@dataclass(frozen=True, slots=True)
class Sharded:
    """How to split a strategy.

    part : makes the object that a rank calls its own
    lead : decides, by calls on the parts of all ranks
    resumes : an interrupted run can go on from its first picks
    """

    part: Callable[[Job], Any]
    lead: Callable[[Job, Team], Picks]
    resumes: bool = False


def sharded_form(spec: StrategySpec) -> Sharded | None:
    """Find the sharded form of a strategy, if it has one."""
    if spec.kind == "acquisition":
        return None if spec.takes_rng else ROW_WISE
    return BY_NAME.get(spec.name) if spec.function.__module__.startswith("poolwise.strategies.") else None


def needs_no_split(spec: StrategySpec) -> bool:
    """Whether a strategy reads at most a number per item, so that one process is always enough."""
    wide = {name for name, array in ARRAYS.items() if array.per_row and array.shape != "(N,)"}
    return not wide & {*spec.needs, *spec.uses}


class TopPart:
    """The highest scores among the rows of one rank."""

    def __init__(self, score: Callable[..., FloatArray], rows: Mapping[str, Rows], mine: IndexArray) -> None:
        self.score, self.rows, self.mine = score, rows, mine

    def top(self, count: int) -> tuple[IndexArray, FloatArray]:
        """Find the best `count` rows, or all if there are fewer: pool indices and float64 scores."""
        if not len(self.mine):
            return NOTHING, np.empty(0)
        return stream_top(self.score, self.rows, self.mine, min(count, len(self.mine)))


def lead_top(job: Job, team: Team) -> Picks:
    """Merge the best rows of all ranks."""
    found = team.call("top", job.batch_size)
    indices, scores = np.concatenate([part[0] for part in found]), np.concatenate([part[1] for part in found])
    best = best_first(scores, indices, job.batch_size)
    return Picks(indices[best], scores[best])


def _row_wise_part(job: Job) -> TopPart:
    own = {name: value for name, value in job.options.items() if name in job.spec.options}
    score, rows = row_scorer(job.spec, job.arrays, own)
    return TopPart(score, rows, job.mine)


def _mase_part(job: Job) -> TopPart:
    boundaries = Boundaries(np.asarray(job.arrays["head_weight"]))
    return TopPart(mase_strategy.nearness(boundaries), {"logits": job.arrays["logits"]}, job.mine)


def _lead_mase(job: Job, team: Team) -> Picks:
    picks = lead_top(job, team)
    sides = Sides(Boundaries(np.asarray(job.arrays["head_weight"])), job.arrays["logits"])
    return mase_strategy.explained(sides, picks.indices, np.asarray(picks.scores))


class BasePart:
    """The lists of each class among the rows of one rank."""

    def __init__(self, job: Job) -> None:
        self.part = base_strategy.Part(job.arrays["logits"], job.arrays["head_weight"], job.mine)
        self.lists: base_strategy.Lists | None = None

    def open(self, taken: IndexArray, depths: IndexArray, first: IndexArray) -> tuple[Any, ...]:
        """Read all rows that are not taken, and list those closest to each class."""
        if np.isin(self.part.unlabeled, taken).all():
            self.lists = None
            return True, np.zeros(len(depths), dtype=np.int64), NOTHING, np.empty(0)
        self.lists = self.part.open(taken, depths, first)
        return self._settled(len(depths))

    def settle(self, depths: IndexArray) -> tuple[Any, ...]:
        """Settle more of each list."""
        if self.lists is None:
            return True, np.zeros(len(depths), dtype=np.int64), NOTHING, np.empty(0)
        self.lists.settle(depths)
        return self._settled(len(depths))

    def _settled(self, n_classes: int) -> tuple[Any, ...]:
        assert self.lists is not None
        found = [self.lists.of(slot) for slot in range(n_classes)]
        lengths = np.array([len(indices) for indices, _ in found], dtype=np.int64)
        indices, values = (np.concatenate([pair[i] for pair in found]) for i in (0, 1))
        return self.lists.trusted, lengths, indices, values


class TeamLists:
    """The lists of all ranks as one (a `strategies.base.Lists`)."""

    def __init__(self, team: Team, taken: IndexArray, depths: IndexArray, first: IndexArray) -> None:
        self.team, self.depths = team, depths
        self._take_in(team.call("open", taken, depths, first), first)

    def settle(self, depths: IndexArray) -> None:
        """Settle the first `depths` (C,) of each list."""
        self._take_in(self.team.call("settle", depths), depths)

    def of(self, slot: int) -> tuple[IndexArray, NDArray[np.float64]]:
        """Merge one list of all ranks, as far as it is settled."""
        parts = [(indices[a:b], values[a:b]) for edges, indices, values in self._parts for a, b in [edges[slot]]]
        indices, values = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        best = best_first(-values, indices, int(self._settled[slot]))
        return indices[best], values[best]

    def _take_in(self, answers: list[tuple[Any, ...]], settled: IndexArray) -> None:
        self._settled = np.minimum(settled, self.depths)
        self.trusted = all(trusted for trusted, _, _, _ in answers)
        self._parts = []
        for _, lengths, indices, values in answers:
            stop = np.cumsum(lengths)
            self._parts.append((np.stack([stop - lengths, stop], axis=1), indices, values))


def _lead_base(job: Job, team: Team) -> Picks:
    def open_lists(taken: IndexArray, depths: IndexArray, first: IndexArray) -> TeamLists:
        return TeamLists(team, taken, depths, first)

    return base_strategy.choose_and_explain(
        Boundaries(np.asarray(job.arrays["head_weight"])),
        open_lists,
        job.arrays["logits"],
        job.labeled,
        job.unlabeled,
        job.arrays.get("labels"),
        job.batch_size,
        job.rng(),
        order=job.options["order"],
        quota=job.options["quota"],
    )


class BadgePart:
    """The envelope of the gradients of one rank, and what `topk` leaves out of them."""

    def __init__(self, job: Job) -> None:
        bias, topk = job.options["bias"], job.options["topk"]
        self.gradients = GradientVectors(job.arrays["probs"], job.arrays["embeddings"], job.mine, bias=bias, topk=topk)
        self.envelope = envelope_of(self.gradients)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.envelope, name)

    def residual(self) -> float:
        """Sum, over the rows, the share of each gradient that `topk` leaves out."""
        return self.gradients.residual * len(self.gradients)


def _lead_badge(job: Job, team: Team) -> Picks:
    embeddings, probs, options = job.arrays["embeddings"], job.arrays["probs"], job.options
    badge_strategy.check_topk(options["topk"])
    given = None
    if options["condition_on_labeled"]:
        given = badge_strategy.given_points(embeddings, probs, job.labeled, bias=options["bias"])
    draw = d2_sample(team, job.batch_size, job.rng(), first="largest", given=given)
    residual = None if options["topk"] is None else sum(team.call("residual")) / len(job.unlabeled)
    return badge_strategy.explained(draw, job.unlabeled, residual)


def _coreset_rows(job: Job) -> Rows:
    rows: Rows = job.arrays["embeddings"]
    return UnitRows(rows) if job.options["metric"] == "cosine" else rows


def _coreset_part(job: Job) -> Part:
    mine = job.mine[~np.isin(job.mine, job.before)]
    return Part(_coreset_rows(job), mine, np.concatenate([job.labeled, job.before]))


def _lead_coreset(job: Job, team: Team) -> Picks:
    picks = k_center(
        _coreset_rows(job),
        job.labeled,
        job.unlabeled,
        job.batch_size,
        first=job.options["first"],
        rng=job.rng(),
        team=team,
        before=job.before if len(job.before) else None,
        on_picks=job.on_picks,
    )
    return Picks(picks.indices, picks.distance, {"nearest": picks.nearest}, {"cover_radius": picks.cover_radius})


ROW_WISE = Sharded(_row_wise_part, lead_top)

BY_NAME = {
    "badge": Sharded(BadgePart, _lead_badge),
    "base": Sharded(BasePart, _lead_base),
    "coreset": Sharded(_coreset_part, _lead_coreset, resumes=True),
    "mase": Sharded(_mase_part, _lead_mase),
}


class FirstRound:
    """A rank of the two-round mode: an ordinary selection among its own rows."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def chosen(self, rank_seed: tuple[int, ...]) -> IndexArray:
        """Choose a whole batch among the rows of this rank, or all rows if there are fewer."""
        job = self.job
        if len(job.mine) <= job.batch_size:
            return job.mine
        seed = int(rng_for(job.seed, "first round", *rank_seed).integers(2**62))
        context = QueryContext(job.labeled, job.mine, job.arrays)
        return call(job.spec, context, job.batch_size, seed, job.options).indices


def _lead_two_rounds(job: Job, team: Team) -> Picks:
    found = team.call_each("chosen", [((rank,),) for rank in range(team.size)])
    finalists = np.sort(np.concatenate(found))
    picks = call(job.spec, QueryContext(job.labeled, finalists, job.arrays), job.batch_size, job.seed, job.options)
    return replace(picks, notes={**picks.notes, "rounds": 2, "finalists": len(finalists)})


TWO_ROUNDS = Sharded(FirstRound, _lead_two_rounds)


def _lead_alone(job: Job, team: Team) -> Picks:
    context = QueryContext(job.labeled, job.unlabeled, job.arrays, job.extra, job.history)
    return call(job.spec, context, job.batch_size, job.seed, job.options)


ALONE = Sharded(lambda job: None, _lead_alone)


def form_of(spec: StrategySpec, mode: Mode) -> Sharded:
    """Return the form of a strategy in a mode: split by rows, chosen by a single rank, or chosen in two rounds."""
    if mode == "split":
        form = sharded_form(spec)
        assert form is not None
        return form
    return TWO_ROUNDS if mode == "rounds" else ALONE
