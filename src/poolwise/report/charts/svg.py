"""SVG elements, scales and ticks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDE = 920
NARROW = 343
"""Widths in CSS pixels: for a desk or paper, and for a phone of 375 px less its margins."""

FONT_PX = 13.0
CHAR_PX = 0.56 * FONT_PX
"""Mean width of a character in a proportional sans-serif font of that size."""

N_COLOURS = 8


def element(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """Build one element; attribute values and plain text children are escaped, None is left out.

    A trailing underscore is dropped from attribute names and others become hyphens.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{''.join(escape(child) for child in children)}</{name}>")


def _short(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def path(points: Sequence[tuple[float, float]], *, closed: bool = False) -> str:
    """Write the `d` of a polyline."""
    steps = " ".join(f"{_short(x)},{_short(y)}" for x, y in points)
    return f"M{steps}{'Z' if closed else ''}"


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from data to pixels."""

    data: tuple[float, float]
    pixels: tuple[float, float]

    def __call__(self, value: float) -> float:
        (d0, d1), (p0, p1) = self.data, self.pixels
        return p0 + (value - d0) * (p1 - p0) / (d1 - d0)


def nice_range(
    values: Sequence[float], *, floor: float | None = None, ceiling: float | None = None
) -> tuple[float, float]:
    """Widen the span of some values by 5 % on both sides, not beyond the given limits; never empty."""
    finite = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    low, high = low - margin, high + margin
    if floor is not None and low < floor < high:
        low = floor
    if ceiling is not None and low < ceiling < high:
        high = ceiling
    return low, high


def ticks(low: float, high: float, count: int) -> list[float]:
    """List about `count` round numbers (1, 2, 5 times a power of ten apart) inside [low, high]."""
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((power * m for m in (1, 2, 5, 10)), key=lambda s: abs(s - raw))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def decimals(marks: Sequence[float]) -> int:
    """Say how many decimals tell neighbouring ticks apart."""
    if len(marks) < 2:
        return 2
    return max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9))


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move positions apart to at least `gap`, as little as possible in order, staying in [low, high].

    If they cannot fit, the gap shrinks.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    placed = [0.0] * len(wanted)
    edge = low
    for i in order:
        placed[i] = max(wanted[i], edge)
        edge = placed[i] + gap
    edge = high
    for i in reversed(order):
        placed[i] = min(placed[i], edge)
        edge = placed[i] - gap
    return placed


def shorten(text: str, room_px: float) -> str:
    """Cut a text that is wider than the room, with an ellipsis."""
    length = max(int(room_px / CHAR_PX), 2)
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


def picture(title: str, description: str, width: float, height: float, *children: str) -> Markup:
    """Wrap marks into an SVG that scales down with its column and has a spoken title and description."""
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *children,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=width,
        height=height,
        role="img",
        class_="chart",
    )


def both_widths(draw: Callable[[int], Markup]) -> Markup:
    """Draw for a desk and for a phone; the page's CSS shows the one that fits."""
    wide = element("div", draw(WIDE), class_="wide")
    narrow = element("div", draw(NARROW), class_="narrow")
    return Markup(wide + narrow)
