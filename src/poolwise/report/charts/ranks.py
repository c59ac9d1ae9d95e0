"""A critical-difference picture for narrow screens: a row per strategy, bars join what is not separable."""

from __future__ import annotations

from markupsafe import Markup

from poolwise.report.charts.svg import NARROW, Scale, element, picture, shorten, ticks
from poolwise.stats.ranks import CriticalDifference

ROW_PX, LEFT_PX, BAR_PX = 24.0, 130.0, 8.0
BARS_PX = 72.0
"""Most room for the bars; many stand closer."""


def rank_rows(found: CriticalDifference) -> Markup:
    """Draw the mean ranks from best to worst, top to bottom; `stats.ranks.critical_difference_svg` is the wide form."""
    k = len(found.names)
    step = min(BAR_PX, BARS_PX / max(1, len(found.groups)))
    right = NARROW - 8 - step * len(found.groups)
    x = Scale((1.0, float(k)), (LEFT_PX, right - 6))
    bottom = 8 + ROW_PX * k
    marks = []
    for value in filter(float.is_integer, ticks(1.0, float(k), 4)):
        marks.append(element("line", class_="grid", x1=x(value), x2=x(value), y1=4, y2=bottom))
        marks.append(element("text", f"{value:.0f}", class_="tick", x=x(value), y=bottom + 18, text_anchor="middle"))
    middles = [8 + ROW_PX * (row + 0.5) for row in range(k)]
    for name, rank, y in zip(found.names, found.ranks, middles, strict=True):
        label = shorten(name, LEFT_PX - 16)
        marks.append(element("text", label, class_="label", x=LEFT_PX - 12, y=y + 4, text_anchor="end"))
        marks.append(element("circle", class_="dot", cx=x(rank), cy=y, r=4.5))
    for level, (first, last) in enumerate(found.groups):
        across = right + step * (level + 0.5)
        marks.append(
            element("line", class_="joined", x1=across, x2=across, y1=middles[first] - 6, y2=middles[last] + 6)
        )
    told = (
        f"Mean ranks on {found.n} data sets; bars join strategies that cannot be told apart (CD {found.distance:.2f})."
    )
    return picture("Mean ranks", told, NARROW, bottom + 26, element("g", *marks, class_="span"))
