"""Why these items: what each batch trusted, why, and where the time went; for other strategies what they said."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from poolwise.auto.explain import apart, is_choice, reasons, spent, trusted
from poolwise.registry import section
from poolwise.report.html import anything, render
from poolwise.report.model import Report, RoundFacts

COLORS = 8
OPEN = 3
"""So many of the latest choices tell their reasons at once."""
NAMED = 0.14
"""Smallest share of a bar that is wide enough for a name."""

TEMPLATE = """\
<h2>How the batches were chosen</h2>
{% if choices %}
<p>What was trusted for each batch, as shares of a bar; reasons and seconds below it.</p>
{% for one in choices %}
<div class="choice">
<h3>Round {{ one.number }}: {{ one.strategy }}</h3>
{% if one.shares %}
<div class="shares" role="img" aria-label="{{ one.told }}">
{% for name, share, color, shown in one.shares %}
<span class="c{{ color }}" style="flex-grow: {{ share }}" title="{{ name }} {{ share | percent(0) }}">{{ shown }}</span>
{% endfor %}
</div>
<p class="told">{{ one.told }}</p>
{% endif %}
<details{% if one.open %} open{% endif %}><summary>Why</summary>
<ul>
{% for reason in one.reasons %}
<li>{{ reason }}</li>
{% endfor %}
<li>seconds: {{ one.seconds }}</li>
</ul></details>
</div>
{% endfor %}
{% endif %}
{% if others %}
<div class="scroll"><table>
<thead><tr><th class="n">Round</th><th>Strategy</th><th>What it said about the batch</th></tr></thead>
<tbody>
{% for round, notes in others %}
<tr><td class="n">{{ round.number }}</td><td>{{ round.strategy }}</td><td>{{ notes }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endif %}
"""


@section("choice")
def choice(report: Report) -> Markup | None:
    """Tell for each round what was trusted and why; other strategies' notes as they are."""
    rounds = [facts for facts in report.rounds if facts.notes]
    if not rounds:
        return None
    among = [facts for facts in rounds if is_choice(facts.strategy)]
    names = list(dict.fromkeys(name for facts in among for name in trusted(facts.notes)))
    latest = {facts.number for facts in among[-OPEN:]}
    choices = [_choice(facts, names, facts.number in latest) for facts in among]
    others = [(facts, _in_line(facts)) for facts in rounds if facts not in among]
    return render(TEMPLATE, choices=choices, others=others)


def _choice(facts: RoundFacts, names: list[str], opened: bool) -> dict[str, Any]:
    """One batch as the template shows it; a name has the same color and the same place in all batches."""
    notes, seconds = apart(facts.notes)
    shares = trusted(facts.notes)
    if facts.seconds_select is not None:
        seconds["total"] = facts.seconds_select
    if facts.seconds_fit is not None:
        seconds["fit"] = facts.seconds_fit
    return {
        "number": facts.number,
        "strategy": facts.strategy,
        "shares": [
            (name, round(shares[name], 4), place % COLORS, name if shares[name] >= NAMED else "")
            for place, name in enumerate(names)
            if shares.get(name, 0) > 0
        ],
        "told": ", ".join(f"{name} {share:.0%}" for name, share in sorted(shares.items(), key=lambda one: -one[1])),
        "reasons": reasons(notes),
        "seconds": spent(seconds),
        "open": opened,
    }


def _in_line(facts: RoundFacts) -> str:
    notes, seconds = apart(facts.notes)
    parts = [f"{name.replace('_', ' ')}: {anything(value)}" for name, value in notes.items()]
    return "; ".join([*parts, *([f"seconds: {spent(seconds)}"] if seconds else [])])
