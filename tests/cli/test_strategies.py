"""What `poolwise strategies` tells."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from poolwise.bench import measured
from poolwise.cli import strategies as verb
from poolwise.cli.main import app
from poolwise.registry import STRATEGIES, parameter_texts


def told(*words: str) -> str:
    answer = CliRunner().invoke(app, ["strategies", *words])
    assert answer.exit_code == 0
    return answer.stdout


def test_the_list_names_every_strategy_once_with_needs_cost_paper_and_use():
    text = told()
    squeezed = " ".join(text.split())
    for spec in STRATEGIES.entries():
        assert text.count(f"\n  {spec.name}  ") == 1
        for fact in (spec.summary, spec.use_when, spec.cost, spec.paper, ", ".join(spec.needs)):
            assert fact in squeezed


@pytest.mark.parametrize("name", ["margin", "poal", "random", "ensemble"])
def test_one_strategy_is_told_with_options_and_definition(name):
    text = told(name)
    squeezed = " ".join(text.split())
    spec = STRATEGIES[name]
    for part in ("Where it wins and loses", "Options", "Definition", spec.paper, spec.cost, spec.summary):
        assert part in squeezed
    for option in (spec.options | spec.lifted).values():
        assert f"  {option.name} = " in text
        assert " ".join(option.text.split()) in squeezed


def test_every_option_of_every_strategy_is_explained():
    silent = [f"{s.name}.{o.name}" for s in STRATEGIES.entries() for o in (s.options | s.lifted).values() if not o.text]
    assert not silent


def test_the_machine_form_says_type_default_and_what_was_measured():
    (found,) = json.loads(told("poal", "--json"))
    assert found["options"]["choice"] == {
        "type": "one of 'overlap', 'knee'",
        "default": "overlap",
        "text": found["options"]["choice"]["text"],
    }
    assert "farthest above the line between the extremes" in found["options"]["choice"]["text"]
    assert found["conclusion"]
    assert len(found["measured"]) == len(measured.of_strategy("poal", measured.load()))


def test_what_was_measured_is_shown_for_each_variant(monkeypatch):
    where = ("zoo", "about", "pool A", 10)
    rows = [
        measured.Measured(*where, "margin", "margin", 1.25, 0.5, 2.0, "better", 2, 9),
        measured.Measured(*where, "margin", "margin(ood=knn)", -3.0, -4.0, -2.0, "worse", 9, 9),
    ]
    monkeypatch.setattr(verb, "load", lambda: rows)
    text = told("margin")
    assert "It beats random on 1 of 1 data sets" in text
    assert "zoo: pool A  +1.25 [+0.50, +2.00]  wins   2 of 9" in text
    assert text.index("margin(ood=knn)") < text.index("-3.00 [-4.00, -2.00]  loses  9 of 9")
    assert "Measured: beats random on 1 and loses to it on 0 of 1 data sets." in told()


def test_parameter_texts_joins_lines_and_shares_them_among_names():
    doc = "Do.\n\nParameters\n----------\na, b : first\n    and second : part\nc : third\n\nReturns\n-------\nd : no\n"
    assert parameter_texts(doc) == {"a": "first and second : part", "b": "first and second : part", "c": "third"}
    assert parameter_texts("Nothing.") == {}
