"""Counts as bars: named rows while they can be read, a sorted profile beyond."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from poolwise.report.charts.svg import CHAR_PX, NARROW, Scale, both_widths, element, picture, shorten, ticks
from poolwise.report.html import number

ROW_PX = 24.0
NAMED = 30
"""Up to so many classes get a row with their name."""


def bar_chart(counts: Sequence[tuple[str, int]], *, title: str, description: str, unit: str) -> Markup:
    """Draw the counts in the order given; none may be negative."""
    if not counts:
        return Markup("")
    draw = _rows if len(counts) <= NAMED else _profile
    return both_widths(lambda width: draw(counts, title, description, unit, width))


def _rows(counts: Sequence[tuple[str, int]], title: str, description: str, unit: str, width: int) -> Markup:
    longest = max(len(name) for name, _ in counts) * CHAR_PX + 14
    left = min(longest, 120.0 if width <= NARROW else 220.0)
    most = max(count for _, count in counts)
    x = Scale((0, max(most, 1)), (left, width - 60.0))
    marks = []
    for row, (name, count) in enumerate(counts):
        y = ROW_PX * row
        marks += [
            element(
                "g",
                element("title", f"{name}: {number(count)} {unit}"),
                element("text", shorten(name, left - 10), class_="label", x=left - 10, y=y + 16, text_anchor="end"),
                element("rect", class_="bar", x=left, y=y + 3, width=max(x(count) - left, 0.5), height=ROW_PX - 7),
                element("text", number(count), class_="tick", x=x(count) + 6, y=y + 16),
            )
        ]
    return picture(title, description, width, ROW_PX * len(counts) + 4, *marks)


def _profile(counts: Sequence[tuple[str, int]], title: str, description: str, unit: str, width: int) -> Markup:
    ordered = sorted((count for _, count in counts), reverse=True)
    left, right, top, bottom = 46.0, width - 8.0, 24.0, 204.0
    x = Scale((0, len(ordered)), (left, right))
    y = Scale((0, max(ordered[0], 1)), (bottom, top))
    marks = [
        mark
        for value in ticks(*y.data, 4)
        if float(value).is_integer()
        for mark in (
            element("line", class_="grid", x1=left, x2=right, y1=y(value), y2=y(value)),
            element("text", number(value), class_="tick", x=left - 8, y=y(value) + 4, text_anchor="end"),
        )
    ]
    outline = [(left, bottom)]
    for position, count in enumerate(ordered):
        outline += [(x(position), y(count)), (x(position + 1), y(count))]
    steps = " ".join(f"{px:.1f},{py:.1f}" for px, py in [*outline, (right, bottom)])
    marks += [
        element("polygon", class_="bar", points=steps),
        element("line", class_="axis", x1=left, x2=right, y1=bottom, y2=bottom),
        element("text", f"{unit} per class", class_="name", x=2, y=12),
        element(
            "text",
            f"{number(len(ordered))} classes, most to fewest",
            class_="name",
            x=(left + right) / 2,
            y=bottom + 22,
            text_anchor="middle",
        ),
    ]
    return picture(title, description, width, bottom + 32, *marks)
