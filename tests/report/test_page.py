"""The page is one safe file: no request, no script, everything escaped, nothing invented."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from poolwise.registry import SECTIONS
from poolwise.report.model import Report
from poolwise.report.page import ORDER, page, reading_order, write_page

from .samples import bench, pool

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; </style><b>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;&amp;",
    "\u202egnp.exe \u0000 \ud7ff 🐦",
]
VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that elements close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.words.append(" ")
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self.words.append(" ")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.mark.parametrize("report", [pool(), pool(text="a text", image=None), bench(), Report("Empty")])
def test_page_makes_no_request_and_runs_no_script(report: Report) -> None:
    text = page(report)
    reader = Reader(text)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(reader.tags)
    for name, value in reader.attributes:
        assert not name.startswith("on")
        assert name not in {"href", "action", "srcset", "style"}
        assert name != "src" or value.startswith("data:image/")
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    assert style is not None and "url(" not in style[1] and "@import" not in style[1]
    assert "default-src 'none'" in text


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("make", [pool, bench, lambda name: pool(name, text=name, image=None)])
def test_whatever_a_user_names_is_shown_as_text(make, hostile: str) -> None:
    kept, plain = Reader(page(make(hostile))), Reader(page(make("plain")))
    assert kept.tags == plain.tags
    assert [name for name, _ in kept.attributes] == [name for name, _ in plain.attributes]
    shown = " ".join(hostile.replace("\0", "\ufffd").split())
    assert shown in kept.text.replace("\0", "\ufffd")


def test_an_empty_report_has_no_sections() -> None:
    assert "<section" not in page(Report("Nothing yet"))


def test_sections_come_in_reading_order_and_unknown_ones_before_the_setup() -> None:
    assert set(ORDER) == set(SECTIONS.names())
    assert reading_order(["setup", "zebra", "summary", "cost"]) == ["summary", "cost", "zebra", "setup"]


def test_sections_of_a_pool_and_of_a_benchmark() -> None:
    shown = re.findall(r'<section id="(\w+)">', page(pool()))
    assert shown == ["summary", "learning", "choice", "balance", "picks", "cost", "setup"]
    shown = re.findall(r'<section id="(\w+)">', page(bench()))
    assert shown == ["curves", "comparison", "savings", "balance", "cost", "setup"]


def test_the_same_report_gives_the_same_bytes() -> None:
    assert page(pool()) == page(pool())


def test_write_page_replaces_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "new" / "report.html"
    assert write_page(pool(), out) == out
    write_page(bench(), out)
    assert "A benchmark" in out.read_text(encoding="utf-8")
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
