"""Curves with bands: one line per series, named at its end (or in a legend on a phone)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from poolwise.report.charts.svg import (
    CHAR_PX,
    N_COLOURS,
    NARROW,
    Scale,
    both_widths,
    decimals,
    element,
    nice_range,
    path,
    picture,
    shorten,
    spread,
    ticks,
)
from poolwise.report.html import number

LABEL_GAP_PX = 16.0
MANY = 6
"""With more series than this, bands appear only under the pointer."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line. `low` and `high` are empty or as long as `x`; `baseline` draws it in the text colour."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    baseline: bool = False


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    write_y: Callable[[float, int], str],
    y_floor: float | None = None,
    y_ceiling: float | None = None,
) -> Markup:
    """Draw curves over a common x, highest end first: wide with names at the ends, narrow with a legend.

    Parameters
    ----------
    series : x are counts
    write_y : writes a value of y so that steps of the given number of decimals can be told apart
    """
    drawn = sorted((s for s in series if len(s.x)), key=lambda s: -s.y[-1])
    styles = _styles(drawn)

    def draw(width: int) -> Markup:
        return _draw(drawn, styles, title, description, x_label, y_label, write_y, (y_floor, y_ceiling), width)

    legend = Markup("") if len(drawn) < 2 else _legend(drawn, styles)
    return Markup(both_widths(draw) + legend)


def _styles(series: Sequence[Series]) -> list[str]:
    """Give each series a colour class by the order of names, so that charts of the same names agree.

    After all colours are used the next names get another dash.
    """
    names = sorted({s.name for s in series if not s.baseline})
    place = {name: i for i, name in enumerate(names)}
    return [
        "base" if s.baseline else f"c{place[s.name] % N_COLOURS} d{min(place[s.name] // N_COLOURS, 2)}" for s in series
    ]


def _draw(
    series: Sequence[Series],
    styles: Sequence[str],
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    write_y: Callable[[float, int], str],
    y_limits: tuple[float | None, float | None],
    width: int,
) -> Markup:
    narrow = width <= NARROW
    named = not narrow and len(series) > 1
    longest = max((len(s.name) for s in series), default=0)
    right = min(longest * CHAR_PX + 26, 190.0) if named else 14.0
    left, top = (46.0 if narrow else 58.0), 32.0
    plot_height = max(200.0 if narrow else 330.0, LABEL_GAP_PX * len(series) if named else 0.0)
    height = top + plot_height + 46
    x = Scale(_x_range(series), (left, width - right))
    y = Scale(
        nice_range([v for s in series for v in (*s.y, *s.low, *s.high)], floor=y_limits[0], ceiling=y_limits[1]),
        (top + plot_height, top),
    )
    marks = [*_axes(x, y, x_label, y_label, write_y, narrow)]
    marks += [_line(s, style, x, y, len(series) <= MANY) for s, style in zip(series, styles, strict=True)]
    if named:
        marks += _names(series, styles, x, y, right - 22)
    return picture(title, description, width, height, *marks)


def _x_range(series: Sequence[Series]) -> tuple[float, float]:
    values = [v for s in series for v in s.x] or [0.0, 1.0]
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 1, high + 1)


def _axes(
    x: Scale,
    y: Scale,
    x_label: str,
    y_label: str,
    write_y: Callable[[float, int], str],
    narrow: bool,
) -> list[Markup]:
    (left, right), (bottom, top) = x.pixels, y.pixels
    marks = []
    levels = ticks(*y.data, 5)
    for value in levels:
        text = write_y(value, decimals(levels))
        marks.append(element("line", class_="grid", x1=left, x2=right, y1=y(value), y2=y(value)))
        marks.append(element("text", text, class_="tick", x=left - 8, y=y(value) + 4, text_anchor="end"))
    for value in filter(float.is_integer, ticks(*x.data, 3 if narrow else 8)):
        marks.append(element("line", class_="axis", x1=x(value), x2=x(value), y1=bottom, y2=bottom + 5))
        marks.append(element("text", number(value), class_="tick", x=x(value), y=bottom + 19, text_anchor="middle"))
    marks.append(element("line", class_="axis", x1=left, x2=right, y1=bottom, y2=bottom))
    marks.append(element("text", x_label, class_="name", x=(left + right) / 2, y=bottom + 39, text_anchor="middle"))
    marks.append(element("text", y_label, class_="name", x=2, y=top - 19))
    return marks


def _line(series: Series, style: str, x: Scale, y: Scale, band: bool) -> Markup:
    marks = []
    points = [(x(a), y(b)) for a, b in zip(series.x, series.y, strict=True)]
    if len(series.low) and len(series.x) > 1:
        upper = [(x(a), y(b)) for a, b in zip(series.x, series.high, strict=True)]
        lower = [(x(a), y(b)) for a, b in zip(series.x, series.low, strict=True)]
        marks.append(
            element("path", class_="band" if band else "band quiet", d=path([*upper, *lower[::-1]], closed=True))
        )
    elif len(series.low):
        marks.append(
            element(
                "line", class_="whisker", x1=points[0][0], x2=points[0][0], y1=y(series.low[0]), y2=y(series.high[0])
            )
        )
    if len(points) > 1:
        marks.append(element("path", class_="line", d=path(points)))
    if band and len(points) <= 25:
        marks += [element("circle", class_="dot", cx=px, cy=py, r=2.6) for px, py in points]
    return element("g", element("title", series.name), *marks, class_=f"series {style}")


def _names(series: Sequence[Series], styles: Sequence[str], x: Scale, y: Scale, room_px: float) -> list[Markup]:
    ends = [(x(s.x[-1]), y(s.y[-1])) for s in series]
    at = spread([py for _, py in ends], LABEL_GAP_PX, y.pixels[1], y.pixels[0])
    edge = x.pixels[1]
    marks = []
    for one, style, (px, py), label_y in zip(series, styles, ends, at, strict=True):
        leader = element("path", class_="leader", d=path([(px + 4, py), (edge + 14, label_y)]))
        text = element("text", shorten(one.name, room_px), class_="label", x=edge + 18, y=label_y + 4)
        marks.append(element("g", element("title", one.name), leader, text, class_=style))
    return marks


def _legend(series: Sequence[Series], styles: Sequence[str]) -> Markup:
    entries = []
    for one, style in zip(series, styles, strict=True):
        swatch = element(
            "svg",
            element("path", class_="line", d="M0,6 26,6"),
            viewBox="0 0 26 12",
            width=26,
            height=12,
            class_=f"series {style}",
            aria_hidden="true",
        )
        entries.append(element("li", swatch, one.name))
    return element("ul", *entries, class_="legend narrow")
