"""The picked items themselves: pictures, texts or row numbers, latest batch first."""

from __future__ import annotations

from markupsafe import Markup

from poolwise.registry import section
from poolwise.report.html import render
from poolwise.report.model import Report

TEMPLATE = """\
<h2>What was picked</h2>
{% for batch in batches %}
<h3>Round {{ batch.number }}, {{ batch.strategy }}:
{{ batch.n_picked | number }} {{ "item" if batch.n_picked == 1 else "items" }}</h3>
{% if pictured(batch) %}
<ol class="pictures">
{% for pick in batch.picks %}
<li>
{% if pick.image %}
<img src="{{ pick.image }}" alt="{{ pick.item_id }}">
{% else %}
<span class="blank">no picture</span>
{% endif %}
<span class="id" title="{{ pick.item_id }}">{{ pick.item_id }}</span>
<span class="why" title="{{ why(pick) }}">#{{ pick.rank + 1 }}
{% if pick.score is not none %} · {{ pick.score | number }}{% endif %}</span>
<span class="answer{{ "" if pick.label is not none else " open" }}" title="{{ answer(pick) }}">
{{ answer(pick) }}</span></li>
{% endfor %}
</ol>
{% else %}
<div class="scroll"><table class="texts">
<thead><tr><th class="n">Rank</th><th>Item</th>{% if worded(batch) %}<th>Text</th>{% endif %}<th class="n">Score</th>
{% for name in components(batch) %}
<th class="n">{{ name | replace("_", " ") }}</th>
{% endfor %}
<th>Label</th></tr></thead>
<tbody>
{% for pick in batch.picks %}
<tr><td class="n">{{ pick.rank + 1 }}</td><td class="id">{{ pick.item_id }}</td>
{% if worded(batch) %}
<td class="words">{{ pick.text or "" }}</td>
{% endif %}
<td class="n">{{ pick.score | number }}</td>
{% for name in components(batch) %}
<td class="n">{{ pick.components.get(name) | anything }}</td>
{% endfor %}
<td>{{ answer(pick) }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endif %}
{% if batch.n_picked > batch.picks | length %}
<p class="more">and {{ (batch.n_picked - batch.picks | length) | number }} more</p>
{% endif %}
{% endfor %}
"""


@section("picks")
def picks(report: Report) -> Markup | None:
    """Show the first picks of the latest batches."""
    shown = [batch for batch in report.batches if batch.picks]
    if not shown:
        return None
    return render(
        TEMPLATE,
        batches=shown,
        pictured=lambda batch: any(pick.image for pick in batch.picks),
        worded=lambda batch: any(pick.text for pick in batch.picks),
        components=lambda batch: list(dict.fromkeys(name for pick in batch.picks for name in pick.components)),
        answer=lambda pick: "not answered" if pick.label is None else pick.label,
        why=lambda pick: ", ".join(f"{name} {value}" for name, value in pick.components.items()),
    )
