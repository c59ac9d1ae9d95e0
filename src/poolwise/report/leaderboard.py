"""The leaderboard page: one self-contained file over several benchmarks, filtered by group without a script."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from markupsafe import Markup

from poolwise.bench.leaderboard import DatasetBoard, GroupBoard, Leaderboard
from poolwise.bench.table import Line
from poolwise.report.charts.intervals import Span, interval_chart
from poolwise.report.charts.ranks import rank_rows
from poolwise.report.charts.svg import element
from poolwise.report.html import MINUS, points, render
from poolwise.report.model import Estimate
from poolwise.report.page import document
from poolwise.stats.intervals import Interval
from poolwise.stats.ranks import critical_difference_svg
from poolwise.store.files import make_directory, write_atomic

STYLE = """
.filter { display: flex; flex-wrap: wrap; gap: .5rem 1.25rem; border: 0; margin: 1.25rem 0; padding: 0; }
.filter label { display: inline-flex; align-items: center; gap: .4rem; }
.shade { background: color-mix(in srgb, var(--bar) calc(var(--v) * 55%), transparent); padding-left: .6rem; }
.of { color: var(--soft); }
.cd .wide rect { fill: none; }
.cd .wide text { fill: var(--ink); }
.cd .wide line { stroke: var(--ink); }
.scroll th[scope=row] { position: sticky; left: 0; background: var(--paper); }
"""

FILTER = """\
{% if groups | length > 1 %}
<fieldset class="filter"><legend>Show</legend>
{% for group in groups %}
<label><input type="radio" name="group" id="g{{ loop.index0 }}"{% if loop.first %} checked{% endif %}>
{{ group.name }} <span class="of">({{ group.datasets | length }})</span></label>
{% endfor %}
</fieldset>
{% endif %}
"""

RANKS = """\
<h2>Ranking</h2>
<p>Mean rank of the area under the learning curve (AUBC) over the data sets of a group; 1 is best. Only strategies that
ran on all of them are ranked. Strategies joined by a bar cannot be told apart (Nemenyi, 5 %).</p>
{% for group, picture, beaten in panels %}
<div class="of-group in-{{ loop.index0 }}">
<h3>{{ group.name }}: {{ group.datasets | length }} data set{{ "" if group.datasets | length == 1 else "s" }}</h3>
{% if picture %}<figure class="scroll cd">{{ picture }}</figure>{% endif %}
{% if group.strategies %}
<div class="scroll"><table>
<thead><tr><th>Strategy</th><th class="n">Mean rank</th><th class="n">Beaten by the others, mean of its column</th></tr>
</thead><tbody>
{% for name in group.strategies %}
<tr><th scope="row">{{ name }}</th><td class="n">{{ "%.2f" | format(group.ranks[loop.index0]) }}</td>
<td class="n">{{ "%.2f" | format(beaten[loop.index0]) if beaten is not none else "–" }}</td></tr>
{% endfor %}
</tbody></table></div>
{% else %}
<p>No strategy ran on all data sets of this group.</p>
{% endif %}
{% if group.unranked %}
<p class="of">Not ranked, as they ran on part of the data sets:
{% for name, n in group.unranked %}{{ name }} ({{ n }}){{ ", " if not loop.last else "." }}{% endfor %}</p>
{% endif %}
</div>
{% endfor %}
"""

PAIRS = """\
<h2>Who beats whom</h2>
<p>Wins, ties and losses of the row's strategy against the column's, counted over data sets by mean AUBC. Below it the
penalty matrix: the share of rounds at which the row's strategy is significantly better (paired t test, 5 %), summed
over data sets; rows of large numbers are good, columns of large numbers are bad.</p>
{% for group in groups %}
{% set outer = loop.index0 %}
{% if group.strategies | length > 1 %}
<div class="of-group in-{{ outer }}">
<h3>{{ group.name }}: wins, ties, losses</h3>
<div class="scroll"><table>
<thead><tr><th></th>{% for name in group.strategies %}<th class="n">{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for name in group.strategies %}
{% set i = loop.index0 %}
<tr><th scope="row">{{ name }}</th>
{% for other in group.strategies %}
{% set j = loop.index0 %}
<td class="n shade" style="--v:{{ 0 if i == j else group.wins[i][j][0] / (group.datasets | length) }}">
{{ "" if i == j else group.wins[i][j] | join(", ") }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
{% if group.penalty is not none %}
<h3>{{ group.name }}: penalty matrix</h3>
<div class="scroll"><table>
<thead><tr><th></th>{% for name in group.strategies %}<th class="n">{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for name in group.strategies %}
{% set i = loop.index0 %}
<tr><th scope="row">{{ name }}</th>
{% for other in group.strategies %}
{% set j = loop.index0 %}
<td class="n shade" style="--v:{{ group.penalty[i][j] / (group.datasets | length) }}">
{{ "" if i == j else "%.2f" | format(group.penalty[i][j]) }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
{% endif %}
</div>
{% endif %}
{% endfor %}
"""

TABLES = """\
<h2>Data sets</h2>
<p>AUBC: mean accuracy over the labels bought, in percent, with the 95 % interval over seeds. Differences from the
baseline are paired: same seed, same pool, same first items; “better” and “worse” where the corrected p (Holm) is below
0.05.</p>
{% for data, chart, place in datasets %}
<div class="of-group in-{{ place }} in-all">
<h3>{{ data.name }}</h3>
<p class="of">{{ data.group }}; {{ data.n_first | number }} to {{ data.n_final | number }} labels.</p>
{% if chart %}<figure>{{ chart }}</figure>{% endif %}
<div class="scroll"><table>
<thead><tr><th>Strategy</th><th class="n">Seeds</th><th class="n">AUBC</th><th class="n">95 % interval</th>
<th class="n">minus {{ data.baseline }}, points</th><th class="n">95 % interval</th><th class="n">p (Holm)</th>
<th>Verdict</th><th class="n">CPU per query</th></tr></thead><tbody>
{% for line in data.lines %}
<tr><th scope="row">{{ line.strategy }}{{ " (oracle)" if line.oracle else "" }}</th>
<td class="n">{{ line.n_seeds }}</td><td class="n">{{ line.aubc.mean | percent(2) }}</td>
<td class="n">{{ interval(estimate(line.aubc), write_percent) }}</td>
{% if line.against %}
<td class="n">{{ line.against.difference.mean | points }}</td>
<td class="n">{{ interval(estimate(line.against.difference), write_points) }}</td>
<td class="n">{{ line.against.p_holm | p_value }}</td>
<td><span class="verdict {{ line.against.verdict() }}">{{ line.against.verdict() }}</span></td>
{% else %}
<td class="n">–</td><td class="n">–</td><td class="n">–</td><td><span class="verdict">baseline</span></td>
{% endif %}
<td class="n">{{ (line.seconds_query if line.seconds_query == line.seconds_query else none) | seconds }}</td></tr>
{% endfor %}
</tbody></table></div>
</div>
{% endfor %}
"""

SECONDS = """\
<h2>Seconds</h2>
<p>Processor time of one query on one thread, mean over the rounds of each data set.</p>
<div class="scroll"><table>
<thead><tr><th>Strategy</th><th class="n">fastest data set</th><th class="n">slowest data set</th>
<th class="n">data sets</th></tr></thead><tbody>
{% for name, fastest, slowest, n in rows %}
<tr><th scope="row">{{ name }}</th><td class="n">{{ fastest | seconds }}</td><td class="n">{{ slowest | seconds }}</td>
<td class="n">{{ n }}</td></tr>
{% endfor %}
</tbody></table></div>
"""


def leaderboard_page(board: Leaderboard, title: str = "Leaderboard") -> str:
    """Return the page as text."""
    groups = board.groups
    places = {group.name: place for place, group in enumerate(groups)}
    subtitle = f"{len(board.datasets)} data sets, up to {board.n_seeds} seeds. " + ", ".join(
        f"{name} {version}" for name, version in board.versions.items()
    )
    sections = [
        ("filter", render(FILTER, groups=groups)),
        ("ranking", render(RANKS, panels=[(group, _picture(group), _beaten(group)) for group in groups])),
        ("pairs", render(PAIRS, groups=groups)),
        (
            "datasets",
            render(
                TABLES,
                datasets=[(data, _chart(data), places[data.group]) for data in board.datasets],
                estimate=_estimate,
            ),
        ),
        ("seconds", render(SECONDS, rows=_seconds(board))),
    ]
    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    shown = [(name, body) for name, body in sections if body.strip()]
    return document(title, subtitle, made, shown, STYLE + _filters(len(groups)))


def write_leaderboard(board: Leaderboard, out: Path, title: str = "Leaderboard") -> Path:
    """Write the page, replacing an older one only when the new one is complete."""
    make_directory(out.parent)
    write_atomic(out, leaderboard_page(board, title).encode("utf-8", "replace"))
    return out


def _filters(n_groups: int) -> str:
    """Style rules that hide what belongs to other groups than the chosen one; the first one shows all data sets."""
    if n_groups == 1:
        return ""
    rules = ["main:has(#g0:checked) .of-group:not(.in-0):not(.in-all) { display: none; }"]
    rules += [f"main:has(#g{i}:checked) .of-group:not(.in-{i}) {{ display: none; }}" for i in range(1, n_groups)]
    return "\n".join(rules)


def _picture(group: GroupBoard) -> Markup | None:
    if group.picture is None:
        return None
    wide = element("div", Markup(critical_difference_svg(group.picture)), class_="wide")
    return Markup(wide + element("div", rank_rows(group.picture), class_="narrow"))


def _beaten(group: GroupBoard) -> list[float] | None:
    if group.penalty is None:
        return None
    means: list[float] = np.asarray(group.penalty).mean(axis=0).tolist()
    return means


def _chart(data: DatasetBoard) -> Markup:
    spans = [_span(line) for line in data.lines if line.against is not None]
    return interval_chart(
        [span for span in spans if span is not None],
        title=f"AUBC minus {data.baseline} on {data.name}",
        description=" ".join(
            f"{line.strategy}: {points(line.against.difference.mean)} points."
            for line in data.lines
            if line.against is not None
        ),
        x_label=f"AUBC minus {data.baseline}, percentage points",
        write=lambda share: f"{100 * share:+.4g}".replace("-", MINUS) if share else "0",
    )


def _span(line: Line) -> Span | None:
    if line.against is None:
        return None
    gap = _estimate(line.against.difference)
    return Span(line.strategy, gap.value, gap.low, gap.high, line.against.verdict())


def _estimate(interval: Interval) -> Estimate:
    """Keep bounds that are finite; a single seed has none."""
    if not np.isfinite(interval.low):
        return Estimate(interval.mean)
    return Estimate(interval.mean, interval.low, interval.high)


def _seconds(board: Leaderboard) -> list[tuple[str, float, float, int]]:
    found: dict[str, list[float]] = {}
    for data in board.datasets:
        for line in data.lines:
            if np.isfinite(line.seconds_query):
                found.setdefault(line.strategy, []).append(line.seconds_query)
    return sorted((name, min(values), max(values), len(values)) for name, values in found.items())
