"""Stopping rules: each says stop, go on, or that it cannot tell; none acts.

Source: rule (a) Bloodgood & Vijay-Shanker, CoNLL 2009; (b) to (d) are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from poolwise.audit.record import Rule
from poolwise.errors import OptionError
from poolwise.stats.intervals import Interval

STABLE, WINDOW = 0.99, 3
"""Mean kappa over so many pairs of successive models, Bloodgood & Vijay-Shanker section 4."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user wants: an accuracy that is enough, and a gain in accuracy that is worth the next labels."""

    target: float | None = None
    worth: float | None = None

    def __post_init__(self) -> None:
        for name, share in (("target", self.target), ("worth", self.worth)):
            if share is not None and not 0 <= share <= 1:
                raise OptionError(f"{name} must be a share between 0 and 1; got {share!r}. For 90 % say 0.9.")


def stopping_rules(
    accuracy: Interval | None,
    agreement: Sequence[float],
    gain: Interval | None,
    gain_labels: int,
    benefits: Sequence[Interval],
    wishes: Wishes,
) -> tuple[Rule, ...]:
    """Let all four rules speak."""
    return (
        _stable(agreement),
        _reached(accuracy, wishes.target),
        _little_to_gain(accuracy, gain, gain_labels, wishes.worth),
        _no_benefit(benefits),
    )


def _stable(agreement: Sequence[float]) -> Rule:
    name = "predictions are stable"
    if len(agreement) < WINDOW:
        return Rule(name, None, f"needs {WINDOW + 1} models in a row")
    mean = sum(agreement[-WINDOW:]) / WINDOW
    return Rule(
        name,
        mean >= STABLE - 1e-12,
        f"mean agreement (kappa) of the last {WINDOW + 1} models is {mean:.4f}; {STABLE} would do",
    )


def _reached(accuracy: Interval | None, target: float | None) -> Rule:
    name = "target is reached"
    if target is None:
        return Rule(name, None, "no target was given; pass one, such as --target 0.9")
    if accuracy is None:
        return Rule(name, None, "nothing is audited yet")
    return Rule(
        name,
        accuracy.low >= target,
        f"accuracy is at least {100 * accuracy.low:.1f} %, the target is {100 * target:.1f} %",
    )


def _little_to_gain(accuracy: Interval | None, gain: Interval | None, labels: int, worth: float | None) -> Rule:
    name = "little to gain"
    if accuracy is not None and not labels:
        return Rule(name, True, "no unlabeled item is left")
    if gain is None:
        return Rule(name, None, "needs 3 batches and 30 audit items")
    says = f"the next {labels:,} labels add at most {100 * gain.high:.1f} points"
    if worth is None:
        return Rule(name, None, f"{says}; say what is worth them, such as --worth 0.005")
    return Rule(name, gain.high < worth, f"{says}; {100 * worth:.1f} would be worth it")


def _no_benefit(benefits: Sequence[Interval]) -> Rule:
    """This rule never says stop labeling; it may say stop using this strategy."""
    name = "strategy no better than random"
    if len(benefits) < 3:
        return Rule(name, None, "needs 3 audit slices with enough items")
    if all(gap.low <= 0 for gap in benefits[-3:]):
        return Rule(
            name,
            False,
            "no benefit could be shown in the last 3 slices: go on labeling, but consider random or typiclust",
        )
    return Rule(name, False, "a benefit over random was shown within the last 3 slices")
