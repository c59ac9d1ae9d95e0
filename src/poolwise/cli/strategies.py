"""`poolwise strategies`: which strategies there are, what they need, when to use them, and where they win and lose."""

from __future__ import annotations

import inspect
import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

import poolwise.pool  # noqa: F401  (registers every strategy, also those above the array layer)
from poolwise.bench.measured import conclusion, load, of_strategy, tally, written
from poolwise.cli.output import echo_json, width_of_output
from poolwise.registry import STRATEGIES, Option, StrategySpec, type_name
from poolwise.types import plain

FAMILIES = {
    "baseline": "Baseline",
    "auto": "Automatic choice",
    "uncertainty": "What the model is unsure of",
    "density": "What is typical of regions without labels",
    "diversity": "What covers the pool",
    "hybrid": "Uncertainty and coverage together",
    "balance": "What evens out the classes",
    "open set": "Pools with items of no interest",
    "selector": "Choosing among strategies",
}
"""Families in order, and what their members look for; any other family comes last under its own name."""
WIDEST = 110
"""Lines of text longer than this are hard to read."""


def strategies(
    name: Annotated[str | None, typer.Argument(help="Show one strategy in full.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the strategies, or explain one: family, needs, cost, paper, options, and where it wins and loses.

    Example:  poolwise strategies margin
    """
    entries = [STRATEGIES[name]] if name else STRATEGIES.entries()
    if as_json:
        echo_json([describe(spec) for spec in entries])
    elif name:
        sys.stdout.write(explain(entries[0], min(width_of_output(), WIDEST)))
    else:
        sys.stdout.write(listing(entries, min(width_of_output(), WIDEST)))


def describe(spec: StrategySpec) -> dict[str, Any]:
    """The machine form of one strategy."""
    return {
        "name": spec.name,
        "family": spec.family,
        "needs": list(spec.needs),
        "uses": list(spec.uses),
        "options": {o.name: {"type": type_name(o.type), "default": o.default, "text": o.text} for o in _options(spec)},
        "paper": spec.paper,
        "cost": spec.cost,
        "device": list(spec.on_device),
        "use_when": spec.use_when,
        "oracle": spec.oracle,
        "summary": spec.summary,
        "conclusion": _plain(conclusion(spec.name, load(), oracle=spec.oracle)),
        "measured": [asdict(found) for found in of_strategy(spec.name, load())],
    }


def by_family(entries: Sequence[StrategySpec]) -> dict[str, list[StrategySpec]]:
    """Group strategies: title of the family -> members, in order."""
    families = [*FAMILIES, *sorted({spec.family for spec in entries} - set(FAMILIES))]
    found = {f: [spec for spec in entries if spec.family == f] for f in families}
    return {FAMILIES.get(f, f.capitalize()): members for f, members in found.items() if members}


def listing(entries: Sequence[StrategySpec], width: int) -> str:
    """All strategies by family, with when to use them, needs, cost and paper."""
    lines = []
    for title, members in by_family(entries).items():
        lines += [f"{title} ({members[0].family})", ""]
        for spec in members:
            needs = ", ".join(spec.needs) or "nothing"
            won, lost, n = tally(spec.name, load()) or (0, 0, 0)
            lines += [
                *_wrapped(f"{spec.name}  {spec.summary}", width, 2, 6),
                *_wrapped(f"Use it: {spec.use_when or 'not stated'}", width, 6, 14),
                *_wrapped(f"Needs {needs}; at a million rows: {spec.cost or 'not stated'}; {spec.paper}.", width, 6, 6),
                *([f"      Measured: beats random on {won} and loses to it on {lost} of {n} data sets."] if n else []),
                "",
            ]
    lines.append("One in full, with its options and where it wins and loses: poolwise strategies NAME")
    return "\n".join(lines) + "\n"


def explain(spec: StrategySpec, width: int) -> str:
    """All that is known about one strategy, as text."""
    module = inspect.getmodule(spec.function)
    facts = {
        "Use it": spec.use_when or "not stated",
        "Needs": ", ".join(spec.needs) or "nothing but the list of unlabeled items",
        "Can use": ", ".join(spec.uses) or "nothing more",
        "Cost": f"at a million rows: {spec.cost or 'not stated'}",
        "Device": _device(spec),
        "Paper": spec.paper,
    }
    lines = [
        f"{spec.name} ({spec.family})" + (" - reads true labels: for simulations only" if spec.oracle else ""),
        "",
        (inspect.getdoc(module) or "").strip(),
        "",
        *(line for key, text in facts.items() for line in _wrapped(f"{key + ':':<9}{text}", width, 0, 9)),
        "",
        "Where it wins and loses",
        "",
        *_wrapped(_plain(conclusion(spec.name, load(), oracle=spec.oracle)), width, 2, 2),
        *_measured(spec.name),
        "",
        "Options: from the command line with --set NAME=VALUE, in Python as keywords",
        "",
        *(line for option in _options(spec) for line in _option(option, width)),
        "",
        "Definition",
        "",
        textwrap.indent(inspect.getdoc(spec.function) or "", "  "),
    ]
    return "\n".join(lines) + "\n"


def _device(spec: StrategySpec) -> str:
    """What --device is good for."""
    parts = ", ".join(spec.on_device)
    return f"--device cuda computes there: {parts}" if parts else "--device makes no difference"


def _measured(name: str) -> list[str]:
    """A table of what the committed benchmarks say; empty for the baseline and for what was not measured."""
    found = [m for m in of_strategy(name, load()) if m.points is not None]
    if not found:
        return []
    sign = {"better": "wins", "worse": "loses"}
    cells = [
        (f"{m.suite}: {m.dataset}", written(m), sign.get(m.verdict, ""), f"{m.place or '-'} of {m.of}") for m in found
    ]
    wide = [max(len(row[i]) for row in cells) for i in range(2)]
    lines = [
        "",
        "  Area under the accuracy curve minus random's, in points [95 %]; wins and losses at 5 % (Holm); place",
    ]
    label = ""
    for m, (where, difference, verdict, place) in zip(found, cells, strict=True):
        if m.label != label:
            lines += ["", f"  {m.label}"]
        label = m.label
        lines.append(f"    {where:<{wide[0]}}  {difference:>{wide[1]}}  {verdict:<5}  {place}")
    return lines


def _options(spec: StrategySpec) -> list[Option]:
    return list((spec.options | spec.lifted).values())


def _option(option: Option, width: int) -> list[str]:
    """Name, default and values on one line, what it does below."""
    default = option.default if isinstance(option.default, str) else json.dumps(plain(option.default))
    head = f"{option.name} = {'none' if option.default is None else default}  ({type_name(option.type)})"
    return [*_wrapped(head, width, 2, 6), *(_wrapped(option.text, width, 6, 6) if option.text else [])]


def _wrapped(text: str, width: int, first: int, rest: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=" " * first, subsequent_indent=" " * rest, break_long_words=False
    ) or [""]


def _plain(text: str) -> str:
    """Drop the marks of Markdown."""
    return text.replace("**", "").replace("`", "")
