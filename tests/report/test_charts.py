"""Charts: scales, ticks, labels that do not overlap, and odd data."""

from __future__ import annotations

import itertools
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolwise.report.charts.bars import bar_chart
from poolwise.report.charts.intervals import Span, interval_chart
from poolwise.report.charts.lines import Series, line_chart
from poolwise.report.charts.svg import Scale, element, nice_range, shorten, spread, ticks
from poolwise.report.html import anything, number, p_value, percent, points, seconds


def percent_tick(share: float, digits: int) -> str:
    return percent(share, max(digits - 2, 0))


def draw(series: list[Series]) -> str:
    return str(
        line_chart(series, title="T", description="D", x_label="x", y_label="y", write_y=percent_tick, y_floor=0.0)
    )


def test_element_escapes_attributes_and_children() -> None:
    assert element("a", "<b>", class_='"x"', font_size=1.0) == '<a class="&#34;x&#34;" font-size="1">&lt;b&gt;</a>'


def test_scale_maps_both_ends_and_the_middle() -> None:
    scale = Scale((10, 20), (300, 100))
    assert [scale(10), scale(15), scale(20)] == [300, 200, 100]


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(2, 10))
def test_ticks_are_round_inside_and_about_as_many_as_asked(low: float, width: float, count: int) -> None:
    high = low + width
    if high - low < 1e-9 * max(abs(low), abs(high)):
        return
    found = ticks(low, high, count)
    assert all(low - 1e-6 * width <= tick <= high + 1e-6 * width for tick in found)
    assert count / 2.6 - 1 <= len(found) <= 2.6 * count + 1


def test_ticks_of_accuracies() -> None:
    assert ticks(0.58, 0.82, 5) == [0.6, 0.65, 0.7, 0.75, 0.8]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_labels_are_pushed_apart_and_stay_inside(wanted: list[float]) -> None:
    placed = spread(wanted, 10, 0, 100)
    gap = min(10, 100 / max(len(wanted) - 1, 1))
    ordered = sorted(placed)
    assert all(-1e-9 <= y <= 100 + 1e-9 for y in placed)
    assert all(b - a >= gap - 1e-6 for a, b in itertools.pairwise(ordered))


def test_labels_that_do_not_collide_stay_where_they_are() -> None:
    assert spread([50.0, 10.0, 90.0], 10, 0, 100) == [50.0, 10.0, 90.0]


@pytest.mark.parametrize("values", [[], [3.0], [0.0, 0.0], [math.nan, 1.0], [-1e30, 1e30]])
def test_a_range_is_never_empty(values: list[float]) -> None:
    low, high = nice_range(values)
    assert low < high and math.isfinite(low) and math.isfinite(high)


def test_a_line_chart_is_drawn_for_both_widths_with_title_and_description() -> None:
    html = draw([Series("a", [1, 2], [0.1, 0.2]), Series("b", [1, 2], [0.3, 0.4], [0.2, 0.3], [0.4, 0.5])])
    assert html.count("<title>T</title><desc>D</desc>") == 2
    assert html.count('class="band"') == 2
    assert "nan" not in html


@pytest.mark.parametrize("span", [0.0001, 0.003, 0.02, 0.4, 1.0])
def test_ticks_of_any_zoom_can_be_told_apart(span: float) -> None:
    wide = draw([Series("a", [100, 102], [0.5, 0.5 + span])]).split("</svg>")[0]
    texts = re.findall(r'<text class="tick"[^>]*>([^<]*)<', wide)
    assert len(texts) == len(set(texts)) and "101" in texts and "100.5" not in texts


def test_no_mark_leaves_the_picture() -> None:
    html = draw([Series("a", [1, 500], [0.0, 1.0], [0.0, 0.9], [0.1, 1.0]), Series("b", [1, 500], [0.5, 0.5])])
    pictures = re.findall(r'<svg[^>]*viewBox="0 0 (\d+) (\d+)"(.*?)</svg>', html)
    assert len(pictures) == 4  # two widths, two swatches of the legend
    for width, height, marks in pictures:
        for x, y in re.findall(r"[M ](-?[\d.]+),(-?[\d.]+)", marks):
            assert 0 <= float(x) <= float(width) and 0 <= float(y) <= float(height)


@pytest.mark.parametrize(
    "series",
    [
        [],
        [Series("empty", [], [])],
        [Series("point", [5], [0.5])],
        [Series("point", [5], [0.5], [0.4], [0.6])],
        [Series("flat", [1, 2], [0.5, 0.5])],
        [Series(f"s{i}", [1, 2], [0.5, 0.5]) for i in range(40)],
        [Series("x" * 500, [1, 2], [0.5, 0.6]), Series("", [1, 2], [0.5, 0.6])],
    ],
)
def test_odd_curves_are_drawn_without_error(series: list[Series]) -> None:
    assert "nan" not in draw(series)


def test_every_line_can_be_told_apart_by_colour_and_dash() -> None:
    html = draw([Series(f"s{i}", [1, 2], [0.1, i / 40]) for i in range(24)])
    assert len(set(re.findall(r'class="series (c\d d\d)"', html))) == 24


def test_a_name_has_the_same_colour_in_every_chart_of_the_same_names() -> None:
    def legend(values: list[float]) -> dict[str, str]:
        html = draw([Series(name, [1, 2], [0.1, v]) for name, v in zip("abc", values, strict=True)])
        entry = r'class="series (c\d d\d)" aria-hidden="true">.*?</svg>(\w)<'
        return {name: style for style, name in re.findall(entry, html)}

    assert legend([0.2, 0.3, 0.4]) == legend([0.4, 0.3, 0.2]) == {"a": "c0 d0", "b": "c1 d0", "c": "c2 d0"}


def test_intervals_always_show_zero() -> None:
    html = str(interval_chart([Span("a", 0.5, 0.4, 0.6, "better")], title="T", description="D", x_label="x", write=str))
    assert html.count('class="zero"') == 2 and html.count('class="span better"') == 2


def test_interval_without_bounds_is_a_dot() -> None:
    html = str(interval_chart([Span("a", 0.5, None, None)], title="T", description="D", x_label="x", write=str))
    assert "whisker" not in html and html.count("<circle") == 2


def test_bars_of_nothing_and_of_zeros() -> None:
    assert str(bar_chart([], title="T", description="D", unit="labels")) == ""
    assert "nan" not in str(bar_chart([("a", 0)], title="T", description="D", unit="labels"))


def test_bar_lengths_follow_the_counts() -> None:
    html = str(bar_chart([("a", 100), ("b", 25)], title="T", description="D", unit="labels"))
    long, short = [float(w) for w in re.findall(r'<rect class="bar"[^>]* width="([\d.]+)"', html)][:2]
    assert short == pytest.approx(long / 4, abs=0.1)


def test_shorten_keeps_what_fits() -> None:
    assert shorten("margin", 100) == "margin"
    assert shorten("a very long strategy name", 60).endswith("…")


def test_numbers_are_written_for_people() -> None:
    assert [number(v) for v in (1234567, 12.0, 0.12345, -3.5, None)] == ["1,234,567", "12", "0.123", "−3.5", "–"]
    assert [points(v) for v in (0.0123, -0.00001, -0.2)] == ["+1.23", "0.00", "−20.00"]
    assert [seconds(v).replace("\u202f", " ") for v in (0.0042, 3.2, 192, 7300)] == [
        "4.2 ms",
        "3.2 s",
        "3.2 min",
        "2.03 h",
    ]
    assert [p_value(v) for v in (0.00001, 0.0312, 1.0)] == ["< 0.0001", "0.031", "1"]
    assert anything({"a": [1, 2.5, True, None]}) == "a: 1, 2.5, yes, –"
