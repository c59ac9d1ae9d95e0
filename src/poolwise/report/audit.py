"""What the random audit items prove: accuracy with its interval, random labeling beside it, stopping rules."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from poolwise.audit.record import Audit, CurvePoint
from poolwise.registry import section
from poolwise.report.charts.lines import Series, line_chart
from poolwise.report.html import number, percent, render
from poolwise.report.model import Report

MOST_GROUPS = 20

TEMPLATE = """\
<h2>Audit: proved on this pool</h2>
{% if chart %}
<figure>{{ chart }}
<figcaption>Judged by {{ audit.n_audit | number }} random items that the models were not trained on. Shaded: intervals
that hold together with 95{{ "\N{NARROW NO-BREAK SPACE}" }}% however often one looks. Random labels: models trained on
some of the audit items, judged by the others.</figcaption>
</figure>
{% endif %}
{% if audit.groups %}
<div class="scroll"><table>
<caption>Accuracy by group. The bounds of all groups hold together; lowest upper bound first.</caption>
<thead>
<tr><th>Group</th><th class="n">Audit items</th><th class="n">Accuracy</th><th class="n">Interval</th></tr>
</thead>
<tbody>
{% for group in audit.groups[:most] %}
<tr><th scope="row">{{ group.name or "(no group)" }}</th><td class="n">{{ group.accuracy.n | number }}</td>
<td class="n">{{ group.accuracy.mean | percent }}</td>
<td class="n">{{ group.accuracy.low | percent }} to {{ group.accuracy.high | percent }}</td></tr>
{% endfor %}
</tbody></table></div>
{% if audit.groups | length > most %}<p class="more">and {{ audit.groups | length - most }} more</p>{% endif %}
{% endif %}
<div class="scroll"><table>
<caption>Stop labeling? Each rule on its own.</caption>
<thead><tr><th>Rule</th><th>Stop?</th><th>Why</th></tr></thead>
<tbody>
{% for rule in audit.rules %}
<tr><th scope="row">{{ rule.name | capitalize }}</th><td>{{ words[rule.stop] }}</td><td>{{ rule.says }}</td></tr>
{% endfor %}
</tbody></table></div>
"""


@section("audit")
def audit(report: Report) -> Markup | None:
    """Draw the audited accuracy beside that of random labels, and list the stopping rules."""
    found = report.audit
    if found is None:
        return None
    words = {True: "yes", False: "no", None: "unknown"}
    return render(TEMPLATE, audit=found, chart=_chart(found), words=words, most=MOST_GROUPS)


def _chart(found: Audit) -> Markup | None:
    series = [
        _series("labels as chosen", found.curve, baseline=False),
        _series("random labels", found.random_curve, baseline=True),
    ]
    series = [one for one in series if len(one.x)]
    if not any(len(one.x) > 1 for one in series):
        return None
    return line_chart(
        series,
        title="Audited accuracy",
        description=" ".join(
            f"{one.name}: {percent(one.y[-1])} with {number(one.x[-1])} labels to train on." for one in series
        ),
        x_label="labels trained on",
        y_label="share of audit items classified correctly",
        write_y=lambda share, digits: percent(share, max(digits - 2, 0)),
        y_floor=0.0,
        y_ceiling=1.0,
    )


def _series(name: str, points: Sequence[CurvePoint], *, baseline: bool) -> Series:
    return Series(
        name,
        [point.n_labels for point in points],
        [point.accuracy for point in points],
        [point.low for point in points],
        [point.high for point in points],
        baseline,
    )
