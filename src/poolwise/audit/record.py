"""The record of an audit, and how it is said in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from poolwise.stats.intervals import Interval
from poolwise.types import plain

SHOWN = 3
"""Groups that a sentence names."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Accuracy of a model trained on `n_labels` items, judged by the audit items."""

    n_labels: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class GroupShare:
    """Accuracy on the audit items of one group; "" names the items without a group."""

    name: str
    accuracy: Interval

    def text(self) -> str:
        """Give the name, the accuracy and its bounds."""
        return f"{self.name or '(no group)'} {_share(self.accuracy)}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One stopping rule. `stop` is None where the rule cannot speak yet; `says` gives the reason."""

    name: str
    stop: bool | None
    says: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What is known about a pool from its random audit items.

    Every interval is made at an error that shrinks from look to look, so that all intervals of one quantity hold
    together with 95 % however often one looks; bounds are None where there is none (infinite).

    n_trained, n_audit : labels that the model is trained on, and that judge it
    n_skipped, n_waiting : audit items that were skipped, and of slices that still wait for answers
    look : settled audit slices
    accuracy : exact interval; None without audit items
    accuracy_powered : with the model's own confidence on the reserve as control variate; approximate
    groups : accuracy by group, lowest upper bound first, bounds of all groups together; empty below two groups
    curve : past models of this pool; random_curve : models trained on audit items alone, judged by the others
    benefit : accuracy of the strategy's first `benefit_at` labels minus that of as many random ones
    random_needs : labels, audit included, that random labeling would have needed for the accuracy of now
    gain : predicted gain in accuracy of the next `gain_labels` labels
    rules : the stopping rules
    missing : why something cannot be said, and what to do
    """

    n_trained: int
    n_audit: int
    n_skipped: int
    n_waiting: int
    look: int
    accuracy: Interval | None = None
    accuracy_powered: Interval | None = None
    curve: tuple[CurvePoint, ...] = ()
    random_curve: tuple[CurvePoint, ...] = ()
    benefit: Interval | None = None
    benefit_at: int = 0
    random_needs: Interval | None = None
    gain: Interval | None = None
    gain_labels: int = 0
    rules: tuple[Rule, ...] = ()
    missing: tuple[str, ...] = ()
    groups: tuple[GroupShare, ...] = ()

    @property
    def n_labels(self) -> int:
        """All labels that were paid for: trained on and audited."""
        return self.n_trained + self.n_audit

    @property
    def saved(self) -> Interval | None:
        """Labels that random labeling would have needed more; None where that is unknown or may be zero or less."""
        needs = self.random_needs
        if needs is None or not needs.low > self.n_labels:
            return None
        return Interval(
            needs.mean - self.n_labels, needs.low - self.n_labels, needs.high - self.n_labels, needs.level, needs.n
        )

    def sentences(self) -> list[str]:
        """Say it in plain words, the most important first."""
        if self.accuracy is None:
            return list(self.missing)
        said = [
            f"After {self.n_labels:,} labels accuracy is {_share(self.accuracy)}. {self._against_random()}".rstrip()
        ]
        said.append(
            f"{self.n_audit:,} of these labels are random audit items that the model was not trained on"
            + (f"; {self.n_skipped:,} more were skipped and count nowhere." if self.n_skipped else ".")
        )
        if self.groups:
            said.append(_by_group(self.groups))
        if self.benefit is not None:
            said.append(_benefit(self.benefit, self.benefit_at))
        if self.gain is not None:
            said.append(
                f"The next {self.gain_labels:,} labels are expected to add {100 * self.gain.mean:.1f} points of "
                f"accuracy, and at most {100 * self.gain.high:.1f}."
            )
        return [*said, *self.missing]

    def headline(self) -> str:
        """Give the first sentence."""
        return self.sentences()[0]

    def text(self) -> str:
        """Several lines for people."""
        lines = self.sentences()
        if len(self.groups) > SHOWN:
            lines.remove(_by_group(self.groups))
            lines.append("By group, lowest upper bound first; the bounds of all of them hold together:")
            lines += [f"  {group.text()}, audit items: {group.accuracy.n:,}" for group in self.groups]
        if self.rules:
            lines.append("Stop labeling? Each rule on its own; the decision is yours:")
            words = {True: "yes", False: "no", None: "unknown"}
            lines += [f"  {rule.name}: {words[rule.stop]} - {rule.says}" for rule in self.rules]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the machine form that `--json` prints; infinite bounds are None."""
        record = {**asdict(self), "n_labels": self.n_labels, "saved": None, "sentences": self.sentences()}
        if self.saved is not None:
            record["saved"] = asdict(self.saved)
        answer: dict[str, Any] = plain(record)
        return answer

    def _against_random(self) -> str:
        needs = self.random_needs
        if needs is None:
            return ""
        if needs.low > self.n_labels:
            if math.isinf(needs.low):
                return "Random labels would not get there: their learning curve levels off below this accuracy."
            if math.isinf(needs.high):
                about = "" if math.isinf(needs.mean) else f", about {_round(needs.mean):,}"
                return f"Random labeling would have needed at least {_round(needs.low):,}{about}."
            return (
                f"Random labeling would have needed about {_round(needs.mean):,} "
                f"({_round(needs.low):,}-{_round(needs.high):,})."
            )
        low, high = f"{_round(needs.low):,}", f"{_round(needs.high):,}"
        if needs.high < self.n_labels:
            return f"Random labeling would have needed only {low}-{high}: switch to random."
        span = f"anything from {low} up is" if math.isinf(needs.high) else f"{low} to {high} are"
        return (
            f"Whether random labeling would have needed more labels cannot be said yet ({span} possible); "
            "more audit items narrow this."
        )


def audit_from_dict(record: Mapping[str, Any]) -> Audit:
    """Read back what `stored` wrote."""
    values = {field.name: record[field.name] for field in fields(Audit)}
    for name in ("accuracy", "accuracy_powered", "benefit", "random_needs", "gain"):
        if values[name] is not None:
            values[name] = _interval(values[name])
    values["curve"] = tuple(CurvePoint(**point) for point in values["curve"])
    values["random_curve"] = tuple(CurvePoint(**point) for point in values["random_curve"])
    values["rules"] = tuple(Rule(**rule) for rule in values["rules"])
    values["groups"] = tuple(GroupShare(group["name"], _interval(group["accuracy"])) for group in values["groups"])
    values["missing"] = tuple(values["missing"])
    return Audit(**values)


def stored(found: Audit) -> dict[str, Any]:
    """Turn an audit into what strict JSON can hold and `audit_from_dict` reads back; infinity becomes a word."""
    record = asdict(found)
    for name in ("accuracy", "accuracy_powered", "benefit", "random_needs", "gain"):
        if record[name] is not None:
            record[name] = {key: v if math.isfinite(v) else str(v) for key, v in record[name].items()}
    return record


def _interval(record: Mapping[str, Any]) -> Interval:
    mean, low, high, level = (float(record[name]) for name in ("mean", "low", "high", "level"))
    return Interval(mean, low, high, level, int(record["n"]))


def _share(found: Interval) -> str:
    return f"{100 * found.mean:.1f} % ({100 * found.low:.1f}-{100 * found.high:.1f})"


def _by_group(groups: Sequence[GroupShare]) -> str:
    more = f", and {len(groups) - SHOWN} more (`poolwise audit` lists them)" if len(groups) > SHOWN else ""
    return f"By group: {', '.join(group.text() for group in groups[:SHOWN])}{more}."


def _benefit(gap: Interval, labels: int) -> str:
    span = f"{100 * gap.low:+.1f} to {100 * gap.high:+.1f} points"
    if gap.low > 0:
        return (
            f"With {labels:,} labels the strategy was {100 * gap.mean:.1f} points better than random labels ({span})."
        )
    if gap.high < 0:
        return f"With {labels:,} labels the strategy was {-100 * gap.mean:.1f} points worse than random ({span})."
    return f"With {labels:,} labels strategy and random labels cannot be told apart ({span})."


def _round(labels: float) -> int:
    """Round to two or three significant digits, as much as such a number deserves."""
    if math.isinf(labels):
        return 0
    step = 10 if labels < 1000 else 10 ** (len(str(int(labels))) - 2)
    return int(round(labels / step) * step)
