"""Join the sections into one self-contained HTML file: no script, no font file, no request to anywhere.

A content security policy in the page forbids scripts and every outside address, so that even a
hostile item id or a section of a third party cannot make the file call home.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from poolwise.registry import SECTIONS
from poolwise.report.html import render
from poolwise.report.model import Report
from poolwise.store.files import make_directory, write_atomic

ORDER = (
    "summary",
    "audit",
    "learning",
    "curves",
    "comparison",
    "savings",
    "choice",
    "balance",
    "picks",
    "cost",
    "setup",
)
"""Reading order. A section that is not listed comes before the setup."""

TEMPLATE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="generator" content="poolwise">
<title>{{ title }}</title>
<style>
{{ style }}
</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
{% if subtitle %}
<p class="lead">{{ subtitle }}</p>
{% endif %}
</header>
<main>
{% for name, body in sections %}
<section id="{{ name }}">
{{ body }}
</section>
{% endfor %}
</main>
<footer>
<p>Made by poolwise{% if made %} on {{ made }}{% endif %}. This file needs no network.</p>
</footer>
</body>
</html>
"""


def page(report: Report) -> str:
    """Return the whole page as text; sections with nothing to show are left out."""
    bodies = [(name, SECTIONS[name](report)) for name in reading_order(SECTIONS.names())]
    shown = [(name, body) for name, body in bodies if body]
    return document(report.title, report.subtitle, report.made, shown)


def document(title: str, subtitle: str, made: str, sections: Sequence[tuple[str, str]], style: str = "") -> str:
    """Put sections (id, HTML that is safe already) into a whole page; `style` is added to that of all pages."""
    common = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    return str(
        render(
            TEMPLATE,
            title=title,
            subtitle=subtitle,
            made=made,
            style=Markup(common + style),
            sections=[(name, Markup(body)) for name, body in sections],
        )
    )


def reading_order(names: list[str]) -> list[str]:
    """Sort section names as they are read."""
    place = {name: number for number, name in enumerate(ORDER)}
    return sorted(names, key=lambda name: (place.get(name, len(ORDER) - 1.5), name))


def write_page(report: Report, out: Path) -> Path:
    """Write the page, replacing an older one only when the new one is complete.

    Raises
    ------
    StoreError
        If the folder cannot be written or the disk is full.
    """
    make_directory(out.parent)
    write_atomic(out, page(report).encode("utf-8", "replace"))
    return out
