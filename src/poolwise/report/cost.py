"""What it cost: time of people and of the computer."""

from __future__ import annotations

from markupsafe import Markup

from poolwise.registry import section
from poolwise.report.html import render
from poolwise.report.model import Report, RoundFacts

TEMPLATE = """\
<h2>Cost</h2>
{% if rounds %}
<div class="scroll"><table>
<thead><tr><th class="n">Round</th><th>Strategy</th><th class="n">Labels asked</th><th class="n">People’s time</th>
<th class="n">Per answer</th><th class="n">Choosing</th><th class="n">Training</th></tr></thead>
<tbody>
{% for round in rounds %}
<tr><td class="n">{{ round.number }}</td><td>{{ round.strategy }}</td><td class="n">{{ round.n_picked | number }}</td>
<td class="n">{{ round.seconds_annotating | seconds }}</td>
<td class="n">{{ per_label(round) | seconds }}</td>
<td class="n">{{ round.seconds_select | seconds }}</td><td class="n">{{ round.seconds_fit | seconds }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endif %}
{% for data in datasets %}
<h3>{{ data.name }}</h3>
<div class="scroll"><table>
<thead><tr><th>Strategy</th><th class="n">Per query (median)</th><th class="n">Per fit (median)</th>
</tr></thead>
<tbody>
{% for row in data.costs %}
<tr><th scope="row">{{ row.strategy }}</th>
<td class="n">{{ row.seconds_query | seconds }}</td><td class="n">{{ row.seconds_fit | seconds }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
"""


@section("cost")
def cost(report: Report) -> Markup | None:
    """List the time spent per round of a pool, or per query in a benchmark."""
    rounds = [r for r in report.rounds if (r.seconds_annotating, r.seconds_select, r.seconds_fit) != (None, None, None)]
    datasets = [data for data in report.datasets if data.costs]
    return render(TEMPLATE, rounds=rounds, datasets=datasets, per_label=_per_label) if rounds or datasets else None


def _per_label(facts: RoundFacts) -> float | None:
    if facts.seconds_annotating is None or facts.n_timed == 0:
        return None
    return facts.seconds_annotating / facts.n_timed
