"""Labels saved: how many fewer labels a strategy needed for the accuracy that random ended with."""

from __future__ import annotations

from markupsafe import Markup

from poolwise.registry import section
from poolwise.report.html import number, render
from poolwise.report.model import Report

TEMPLATE = """\
<h2>Labels saved at equal accuracy</h2>
<p>The target is the accuracy that random labeling reached with its last label. A saving is claimed only where the
interval excludes zero.</p>
{% for data in datasets %}
<h3>{{ data.name }}</h3>
<div class="scroll"><table>
<thead><tr><th>Strategy</th><th class="n">Target accuracy</th>
<th class="n">Labels, random</th><th class="n">Labels, strategy</th>
<th class="n">Saved</th><th class="n">95 % interval</th><th>Reached in</th></tr></thead>
<tbody>
{% for row in data.savings %}
<tr><th scope="row">{{ row.strategy }}</th><td class="n">{{ row.target | percent }}</td>
<td class="n">{{ write_whole(row.n_random) }}</td>
{% if row.n_strategy is none %}
<td class="n">not reached</td><td class="n">–</td><td class="n">–</td>
{% else %}
<td class="n">{{ write_whole(row.n_strategy) }}</td>
<td class="n">{{ write_whole(row.saved.value if row.saved else none) }}</td>
<td class="n">{{ interval(row.saved, write_whole) }}</td>
{% endif %}
<td class="w">{{ row.reached_by }} of {{ row.n_seeds }} seeds</td></tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
"""


@section("savings")
def savings(report: Report) -> Markup | None:
    """Show labels saved against random, or say that the accuracy was not reached."""
    shown = [data for data in report.datasets if data.savings]
    return render(TEMPLATE, datasets=shown, write_whole=_whole) if shown else None


def _whole(value: float | None) -> str:
    return number(None if value is None else round(value))
