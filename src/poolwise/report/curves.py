"""Learning curves of a benchmark: one picture per dataset, one line per strategy."""

from __future__ import annotations

from markupsafe import Markup

from poolwise.registry import section
from poolwise.report.charts.lines import MANY, Series, line_chart
from poolwise.report.html import number, percent, render
from poolwise.report.model import Curve, DatasetResults, Report

TEMPLATE = """\
<h2>Learning curves</h2>
{% for data, chart, many in pictures %}
<figure><h3>{{ data.name }}</h3>{{ chart }}
<figcaption>Mean of {{ data.n_seeds }} paired {{ "seed" if data.n_seeds == 1 else "seeds" }}{% if data.n_seeds > 1 %};
{{ "point at a line for its" if many else "shaded:" }} 95 % interval of the mean{% endif %}.</figcaption>
<details><summary>Numbers</summary><div class="scroll"><table>
<thead><tr><th class="n">Labels</th>
{% for curve in data.curves %}
<th class="n">{{ curve.strategy }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for n, values in table(data) %}
<tr><td class="n">{{ n | number }}</td>
{% for value in values %}
<td class="n">{{ value | percent }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div></details>
</figure>
{% endfor %}
"""


@section("curves")
def curves(report: Report) -> Markup | None:
    """Draw the learning curves of each dataset."""
    drawn = [data for data in report.datasets if data.curves]
    if not drawn:
        return None
    return render(TEMPLATE, pictures=[(data, _chart(data), len(data.curves) > MANY) for data in drawn], table=_table)


def _chart(data: DatasetResults) -> Markup:
    return line_chart(
        [curve_series(curve) for curve in data.curves],
        title=f"Learning curves on {data.name}",
        description=" ".join(
            f"{curve.strategy} ends at {percent(curve.mean[-1])} with {number(curve.n_labeled[-1])} labels."
            for curve in data.curves
            if curve.mean
        ),
        x_label="labeled items",
        y_label="share of test items classified correctly",
        write_y=lambda share, digits: percent(share, max(digits - 2, 0)),
        y_floor=0.0,
        y_ceiling=1.0,
    )


def curve_series(curve: Curve) -> Series:
    """Turn a curve into what the chart draws; random is the baseline."""
    return Series(curve.strategy, curve.n_labeled, curve.mean, curve.low, curve.high, curve.strategy == "random")


def _table(data: DatasetResults) -> list[tuple[int, list[float | None]]]:
    by_strategy = [dict(zip(curve.n_labeled, curve.mean, strict=True)) for curve in data.curves]
    return [(n, [known.get(n) for known in by_strategy]) for n in sorted(set().union(*by_strategy))]
