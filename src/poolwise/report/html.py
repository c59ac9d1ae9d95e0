"""From values to safe HTML: the one template environment, and how numbers are written.

Everything that is put into a template is escaped unless it is `Markup` already, and `Markup` is
only made here and in `charts/`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from poolwise.report.model import Estimate

MINUS = "\N{MINUS SIGN}"
THIN = "\N{NARROW NO-BREAK SPACE}"
DASH = "\N{EN DASH}"
LONGEST = 400
"""Longer texts in settings and notes are cut."""


def number(value: float | int | None, digits: int = 3) -> str:
    """Write a number with thousands separators and about `digits` significant digits."""
    if value is None:
        return DASH
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        text = f"{int(value):,}"
    elif abs(value) >= 10 ** (digits - 1):
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{digits}g}"
    return text.replace("-", MINUS)


def percent(value: float | None, digits: int = 1) -> str:
    """Write a fraction as a percentage."""
    return DASH if value is None else f"{100 * value:.{digits}f}{THIN}%".replace("-", MINUS)


def points(value: float | None, digits: int = 2) -> str:
    """Write a difference of fractions in percentage points, always with its sign."""
    if value is None:
        return DASH
    text = f"{100 * value:+.{digits}f}"
    return ("0." + "0" * digits if float(text) == 0 else text).replace("-", MINUS)


def seconds(value: float | None) -> str:
    """Write a duration with the unit that suits it."""
    if value is None:
        return DASH
    if value < 0.9995:
        return f"{1000 * value:.3g}{THIN}ms"
    if value < 120:
        return f"{value:.3g}{THIN}s"
    if value < 7200:
        return f"{value / 60:.3g}{THIN}min"
    return f"{value / 3600:.3g}{THIN}h"


def p_value(value: float | None) -> str:
    """Write a p-value, never as 0."""
    if value is None:
        return DASH
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def interval(estimate: Estimate | None, write: Callable[[float | None], str]) -> str:
    """Write "low to high", or a dash where there is no interval; a low of minus infinity is "any loss"."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return DASH
    low = "any loss" if estimate.low == -math.inf else write(estimate.low)
    return f"{low} to {write(estimate.high)}"


def anything(value: Any) -> str:
    """Write whatever a strategy or a settings file may hold in one line."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: DASH}[value]
    if isinstance(value, int | float):
        return number(value, 4)
    if isinstance(value, dict):
        return ", ".join(f"{name}: {anything(v)}" for name, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(anything(v) for v in value)
    text = str(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"


ENVIRONMENT = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
ENVIRONMENT.filters.update(
    number=number, percent=percent, points=points, seconds=seconds, p_value=p_value, anything=anything
)
ENVIRONMENT.globals["interval"] = interval
ENVIRONMENT.globals.update(write_percent=percent, write_points=points, write_number=number)


def render(template: str, **values: Any) -> Markup:
    """Fill a template; every value that is not Markup is escaped."""
    return Markup(ENVIRONMENT.from_string(template).render(**values))
