"""Class balance: which classes the labels are spent on."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from poolwise.registry import section
from poolwise.report.charts.bars import bar_chart
from poolwise.report.charts.lines import line_chart
from poolwise.report.curves import curve_series
from poolwise.report.html import number, render
from poolwise.report.model import DatasetResults, Report

TEMPLATE = """\
<h2>Class balance of the labeled items</h2>
{% if chart %}
<p>{{ sentence }}</p>
<figure>{{ chart }}</figure>
{% if counts | length > 30 %}
<details><summary>Numbers of all classes</summary><div class="scroll"><table>
<thead><tr><th>Class</th><th class="n">Labeled</th></tr></thead><tbody>
{% for name, count in counts %}
<tr><td>{{ name }}</td><td class="n">{{ count | number }}</td></tr>
{% endfor %}
</tbody></table></div></details>
{% endif %}
{% endif %}
{% for data, picture in pictures %}
<figure><h3>{{ data.name }}</h3>{{ picture }}
<figcaption>Entropy of the class shares of the labeled set; 1 = all classes equally often.</figcaption></figure>
{% endfor %}
"""


@section("balance")
def balance(report: Report) -> Markup | None:
    """Show labels per class of a pool, or class entropy along the budget of a benchmark."""
    counts = sorted(report.class_counts.items(), key=lambda pair: (-pair[1], pair[0]))
    pictures = [(data, _entropy(data)) for data in report.datasets if data.entropy]
    labeled = sum(count for _, count in counts)
    if not pictures and not labeled:
        return None
    chart = sentence = None
    if labeled:
        sentence = _sentence(counts)
        chart = bar_chart(counts, title="Labeled items per class", description=sentence, unit="labels")
    return render(TEMPLATE, chart=chart, sentence=sentence, counts=counts, pictures=pictures)


def _sentence(counts: Sequence[tuple[str, int]]) -> str:
    (most_name, most), (least_name, least) = counts[0], counts[-1]
    missing = sum(count == 0 for _, count in counts)
    if len(counts) == 1:
        return f"All {number(most)} labels are of one class, {most_name}."
    if missing:
        seen = len(counts) - missing
        return (
            f"{number(seen)} of {number(len(counts))} classes have at least one label; "
            f"{most_name} has most ({number(most)})."
        )
    return (
        f"Every one of the {number(len(counts))} classes has labels: "
        f"{most_name} most ({number(most)}), {least_name} fewest ({number(least)})."
    )


def _entropy(data: DatasetResults) -> Markup:
    return line_chart(
        [curve_series(curve) for curve in data.entropy],
        title=f"Class entropy on {data.name}",
        description=" ".join(f"{c.strategy} ends at {number(c.mean[-1])}." for c in data.entropy if c.mean),
        x_label="labeled items",
        y_label="class entropy, 0 to 1",
        write_y=lambda share, digits: f"{share:.{digits}f}",
        y_floor=0.0,
        y_ceiling=1.0,
    )
