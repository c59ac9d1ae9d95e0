"""Differences with intervals around a zero line: what is left of it lost, what is right of it won."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from poolwise.report.charts.svg import CHAR_PX, NARROW, Scale, both_widths, element, nice_range, picture, shorten, ticks

ROW_PX = 26.0


@dataclass(frozen=True, slots=True)
class Span:
    """A value with its interval; `low` and `high` are None where unknown. `verdict` is a CSS class."""

    name: str
    value: float
    low: float | None
    high: float | None
    verdict: str = "unclear"


def interval_chart(
    spans: Sequence[Span], *, title: str, description: str, x_label: str, write: Callable[[float], str]
) -> Markup:
    """Draw one row per span, in the order given, with the zero line always in view."""

    def draw(width: int) -> Markup:
        narrow = width <= NARROW
        longest = max(len(s.name) for s in spans) * CHAR_PX + 14
        left = min(longest, 120.0 if narrow else 200.0)
        bottom = 8 + ROW_PX * len(spans)
        values = [v for s in spans for v in (s.value, s.low, s.high) if v is not None]
        x = Scale(nice_range([*values, 0.0]), (left, width - 16.0))
        marks = []
        for value in ticks(*x.data, 3 if narrow else 6):
            marks.append(element("line", class_="grid", x1=x(value), x2=x(value), y1=4, y2=bottom))
            marks.append(element("text", write(value), class_="tick", x=x(value), y=bottom + 18, text_anchor="middle"))
        marks.append(element("line", class_="zero", x1=x(0), x2=x(0), y1=4, y2=bottom))
        for row, span in enumerate(spans):
            marks.append(_row(span, x, 8 + ROW_PX * (row + 0.5), left))
        marks.append(
            element("text", x_label, class_="name", x=(left + width - 16) / 2, y=bottom + 38, text_anchor="middle")
        )
        return picture(title, description, width, bottom + 46, *marks)

    return both_widths(draw) if spans else Markup("")


def _row(span: Span, x: Scale, y: float, left: float) -> Markup:
    marks = [
        element("title", span.name),
        element("text", shorten(span.name, left - 10), class_="label", x=left - 10, y=y + 4, text_anchor="end"),
    ]
    if span.low is not None and span.high is not None:
        marks.append(element("line", class_="whisker", x1=x(span.low), x2=x(span.high), y1=y, y2=y))
    marks.append(element("circle", class_="dot", cx=x(span.value), cy=y, r=4.5))
    return element("g", *marks, class_=f"span {span.verdict}")
