"""What a report shows, whatever it was made from.

Builders (`build_pool`, `build_bench`) fill these records; sections only read them. A part that is
empty or None is simply not shown, so one record serves pools and benchmarks alike. Fractions such
as accuracies are in [0, 1], durations in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from poolwise.audit.record import Audit


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval; `low` and `high` are None where no interval is known."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """One headline number: "Labeled" / "1,200" / "of 70,000 items"."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RoundFacts:
    """One round of a pool, after its labels were used.

    metrics : by name; "accuracy" and "mean_class_accuracy" are drawn, others are listed
    seconds_select, seconds_fit : computing time, None where not recorded
    seconds_annotating : time people spent on `n_timed` answers of this round, None where not recorded
    notes : what the strategy said about the whole batch
    """

    number: int
    strategy: str
    n_labeled: int
    n_picked: int
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    seconds_select: float | None = None
    seconds_fit: float | None = None
    seconds_annotating: float | None = None
    n_timed: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pick:
    """One picked item as a reader sees it: a picture, a text or only its number.

    rank : 0 = chosen first
    image : data URI of a small picture, or None
    components : name -> value that explains the pick
    label : the current label, None while unanswered
    """

    rank: int
    index: int
    item_id: str
    score: float | None = None
    components: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None
    image: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class PickedBatch:
    """A batch and as many of its picks as the page shows; `n_picked` counts all."""

    number: int
    strategy: str
    n_picked: int
    picks: tuple[Pick, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """Mean over seeds of one strategy's metric at each number of labels, with a 95 % band.

    n_labeled, mean, low, high : of one length; low and high are empty with a single seed
    """

    strategy: str
    n_labeled: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """One strategy on one dataset, next to random on the same splits and first labels.

    aubc : area under the learning curve divided by its width, mean over seeds
    difference : paired difference of aubc against random; None for random itself
    p_holm : p-value of the difference after Holm correction, None where not tested
    """

    strategy: str
    n_seeds: int
    aubc: Estimate
    final_accuracy: float
    mean_class_accuracy: float | None = None
    difference: Estimate | None = None
    p_holm: float | None = None

    @property
    def verdict(self) -> Literal["baseline", "better", "worse", "unclear"]:
        """Say better or worse only if the interval excludes zero and the corrected p is below 0.05."""
        gap = self.difference
        if gap is None:
            return "baseline"
        if gap.low is None or gap.high is None or self.p_holm is None or self.p_holm >= 0.05:
            return "unclear"
        if gap.low > 0:
            return "better"
        return "worse" if gap.high < 0 else "unclear"


@dataclass(frozen=True, slots=True)
class Saving:
    """Labels that a strategy needed for the accuracy that random ended with.

    target : that accuracy
    n_random, n_strategy : labels needed; n_strategy is None where the curve never got there
    saved : random's labels minus the strategy's, with interval; None where not reached
    reached_by : seeds in which the strategy reached the target, of n_seeds
    """

    strategy: str
    target: float
    n_random: float
    n_strategy: float | None
    saved: Estimate | None
    reached_by: int
    n_seeds: int


@dataclass(frozen=True, slots=True)
class QueryCost:
    """Seconds per query and per fit: median over rounds and seeds; None where not measured."""

    strategy: str
    seconds_query: float | None
    seconds_fit: float | None


@dataclass(frozen=True, slots=True)
class DatasetResults:
    """Everything the page says about one dataset of a benchmark."""

    name: str
    n_seeds: int
    curves: tuple[Curve, ...]
    comparisons: tuple[Comparison, ...] = ()
    savings: tuple[Saving, ...] = ()
    entropy: tuple[Curve, ...] = ()
    costs: tuple[QueryCost, ...] = ()


@dataclass(frozen=True, slots=True)
class Setup:
    """What is needed to make the same result again."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """One page.

    subtitle : what it is about, in one line
    made : when it was made, as text
    sentences : conclusions in plain words, shown first
    class_counts : class name -> labeled items
    audit : what random audit items prove
    """

    title: str
    subtitle: str = ""
    made: str = ""
    facts: tuple[Fact, ...] = ()
    sentences: tuple[str, ...] = ()
    rounds: tuple[RoundFacts, ...] = ()
    class_counts: Mapping[str, int] = field(default_factory=dict)
    batches: tuple[PickedBatch, ...] = ()
    datasets: tuple[DatasetResults, ...] = ()
    audit: Audit | None = None
    setup: Setup = field(default_factory=Setup)
