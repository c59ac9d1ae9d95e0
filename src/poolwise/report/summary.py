"""The first screen: headline numbers and the conclusions in plain words."""

from __future__ import annotations

from markupsafe import Markup

from poolwise.registry import section
from poolwise.report.html import render
from poolwise.report.model import Report

TEMPLATE = """\
{% if report.facts %}
<dl class="facts">
{% for fact in report.facts %}
<div><dt>{{ fact.name }}</dt>
<dd><b>{{ fact.value }}</b>{% if fact.detail %} <span>{{ fact.detail }}</span>{% endif %}</dd></div>
{% endfor %}
</dl>
{% endif %}
{% if report.sentences %}
<ul class="findings">
{% for sentence in report.sentences %}
<li>{{ sentence }}</li>
{% endfor %}
</ul>
{% endif %}
"""


@section("summary")
def summary(report: Report) -> Markup | None:
    """Show the headline numbers and sentences."""
    return render(TEMPLATE, report=report) if report.facts or report.sentences else None
