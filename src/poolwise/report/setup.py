"""Settings, seed and versions: enough to make the same result again."""

from __future__ import annotations

from markupsafe import Markup

from poolwise.registry import section
from poolwise.report.html import render
from poolwise.report.model import Report

TEMPLATE = """\
<h2>How to make this again</h2>
<dl class="setup">
{% if setup.seed is not none %}
<div><dt>Seed</dt><dd>{{ setup.seed }}</dd></div>
{% endif %}
{% for name, value in setup.settings.items() %}
<div><dt>{{ name | replace("_", " ") }}</dt><dd>{{ value | anything }}</dd></div>
{% endfor %}
{% for name, value in setup.versions.items() %}
<div><dt>{{ name }}</dt><dd>{{ value }}</dd></div>
{% endfor %}
</dl>
"""


@section("setup")
def setup(report: Report) -> Markup | None:
    """List settings, seed and versions."""
    known = report.setup
    return render(TEMPLATE, setup=known) if known.settings or known.versions or known.seed is not None else None
