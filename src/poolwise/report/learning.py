"""How the model of a pool got better, round by round."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from poolwise.registry import section
from poolwise.report.charts.lines import Series, line_chart
from poolwise.report.html import DASH, number, percent, render
from poolwise.report.model import Estimate, Report, RoundFacts

DRAWN = {"accuracy": "accuracy", "mean_class_accuracy": "mean accuracy per class"}

TEMPLATE = """\
<h2>{% if names %}Accuracy after each round{% else %}Rounds{% endif %}</h2>
{% if not names %}
<p>No accuracy is known yet: <code>poolwise round</code> retrains on the labels, records how good the model is, and asks
for the next batch.</p>
{% endif %}
{% if chart %}
<figure>{{ chart }}
{% if banded %}<figcaption>Shaded: 95 % interval.</figcaption>{% endif %}
</figure>
{% endif %}
<details{% if not chart %} open{% endif %}><summary>Numbers of all rounds</summary>
<div class="scroll"><table>
<thead><tr>
<th class="n">Round</th><th>Strategy</th><th class="n">Picked</th><th class="n">Labeled</th>
{% for name in names %}
<th class="n">{{ name | replace("_", " ") | capitalize }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for round in rounds %}
<tr><td class="n">{{ round.number }}</td><td>{{ round.strategy }}</td>
<td class="n">{{ round.n_picked | number }}</td><td class="n">{{ round.n_labeled | number }}</td>
{% for name in names %}
<td class="n">{{ write_metric(name, round.metrics.get(name)) }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div></details>
"""


@section("learning")
def learning(report: Report) -> Markup | None:
    """Draw the learning curve of a pool and list its rounds."""
    if not report.rounds:
        return None
    names = sorted({name for facts in report.rounds for name in facts.metrics})
    series = [_series(report.rounds, name, label) for name, label in DRAWN.items() if name in names]
    chart = None
    if any(len(one.x) > 1 for one in series):
        chart = line_chart(
            series,
            title="Learning curve",
            description=_in_words(series),
            x_label="labeled items",
            y_label="share classified correctly",
            write_y=lambda share, digits: percent(share, max(digits - 2, 0)),
            y_floor=0.0,
            y_ceiling=1.0,
        )
    return render(
        TEMPLATE,
        chart=chart,
        banded=any(len(one.low) for one in series),
        names=names,
        rounds=report.rounds,
        write_metric=_write_metric,
    )


def _series(rounds: Sequence[RoundFacts], metric: str, label: str) -> Series:
    known = [(facts.n_labeled, facts.metrics[metric]) for facts in rounds if metric in facts.metrics]
    banded = all(estimate.low is not None and estimate.high is not None for _, estimate in known)
    return Series(
        label,
        [n for n, _ in known],
        [estimate.value for _, estimate in known],
        [estimate.low for _, estimate in known if estimate.low is not None] if banded else (),
        [estimate.high for _, estimate in known if estimate.high is not None] if banded else (),
    )


def _in_words(series: Sequence[Series]) -> str:
    return " ".join(
        f"{one.name}: {percent(one.y[0])} with {number(one.x[0])} labels, "
        f"{percent(one.y[-1])} with {number(one.x[-1])}."
        for one in series
        if len(one.x)
    )


def _write_metric(name: str, estimate: Estimate | None) -> str:
    if estimate is None:
        return DASH
    write = percent if name.endswith("accuracy") else number
    if estimate.low is None or estimate.high is None:
        return write(estimate.value)
    return f"{write(estimate.value)} ({write(estimate.low)} to {write(estimate.high)})"
