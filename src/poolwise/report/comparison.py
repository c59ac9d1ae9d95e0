"""Which strategies beat random, and which lose to it: area under the learning curve, paired."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from poolwise.registry import section
from poolwise.report.charts.intervals import Span, interval_chart
from poolwise.report.html import MINUS, points, render
from poolwise.report.model import Comparison, DatasetResults, Report

WORDS = {
    "baseline": "baseline",
    "better": "better than random",
    "worse": "worse than random",
    "unclear": "no difference shown",
}

TEMPLATE = """\
<h2>Against random labeling</h2>
<p>AUBC is the area under the learning curve divided by its width: the mean accuracy over the whole budget.
Differences are paired: the same splits and the same first labels. “Better” and “worse” are said only where the 95 %
interval excludes zero and the p-value, corrected for the number of comparisons (Holm), is below 0.05.</p>
{% for data, chart in pictures %}
<h3>{{ data.name }}</h3>
{% if chart %}<figure>{{ chart }}</figure>{% endif %}
<div class="scroll"><table>
<thead><tr><th>Strategy</th><th class="n">AUBC</th><th class="n">Final accuracy</th><th class="n">Mean per class</th>
<th class="n">AUBC minus random, points</th><th class="n">95 % interval</th><th class="n">p (Holm)</th><th>Verdict</th>
</tr></thead>
<tbody>
{% for row in data.comparisons %}
<tr><th scope="row">{{ row.strategy }}</th><td class="n">{{ row.aubc.value | percent(2) }}</td>
<td class="n">{{ row.final_accuracy | percent }}</td><td class="n">{{ row.mean_class_accuracy | percent }}</td>
<td class="n">{{ (row.difference.value if row.difference else none) | points }}</td>
<td class="n">{{ interval(row.difference, write_points) }}</td><td class="n">{{ row.p_holm | p_value }}</td>
<td><span class="verdict {{ row.verdict }}">{{ words[row.verdict] }}</span></td></tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
"""


@section("comparison")
def comparison(report: Report) -> Markup | None:
    """Show each strategy's difference to random with its interval, best first."""
    compared = [data for data in report.datasets if data.comparisons]
    if not compared:
        return None
    return render(TEMPLATE, pictures=[(data, _chart(data)) for data in compared], words=WORDS)


def _chart(data: DatasetResults) -> Markup:
    spans = [
        Span(row.strategy, gap.value, gap.low, gap.high, row.verdict)
        for row in data.comparisons
        if (gap := row.difference) is not None
    ]
    return interval_chart(
        spans,
        title=f"AUBC minus random on {data.name}",
        description=_in_words(data.comparisons),
        x_label="AUBC minus random, percentage points",
        write=_tick,
    )


def _tick(share: float) -> str:
    return f"{100 * share:+.4g}".replace("-", MINUS) if share else "0"


def _in_words(rows: Sequence[Comparison]) -> str:
    return " ".join(
        f"{row.strategy}: {points(row.difference.value)} points, {WORDS[row.verdict]}."
        for row in rows
        if row.difference is not None
    )
