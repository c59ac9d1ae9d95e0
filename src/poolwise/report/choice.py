"""Why these items: what the strategy said about each batch (for `auto`: what it trusted, and how far)."""

from __future__ import annotations

from markupsafe import Markup

from poolwise.registry import section
from poolwise.report.html import render
from poolwise.report.model import Report

TEMPLATE = """\
<h2>How the batches were chosen</h2>
<div class="scroll"><table>
<thead><tr><th class="n">Round</th><th>Strategy</th>
{% for name in names %}
<th>{{ name | replace("_", " ") }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for round in rounds %}
<tr><td class="n">{{ round.number }}</td><td>{{ round.strategy }}</td>
{% for name in names %}
<td>{{ round.notes.get(name) | anything }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
"""


@section("choice")
def choice(report: Report) -> Markup | None:
    """List the notes of each round."""
    rounds = [facts for facts in report.rounds if facts.notes]
    if not rounds:
        return None
    names = list(dict.fromkeys(name for facts in rounds for name in facts.notes))
    return render(TEMPLATE, rounds=rounds, names=names)
