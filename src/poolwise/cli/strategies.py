"""`poolwise strategies`: which strategies there are, what they need and when to use them."""

from __future__ import annotations

import inspect
import sys
from typing import Annotated, Any

import typer

import poolwise.pool  # noqa: F401  (registers every strategy, also those above the array layer)
from poolwise.cli.output import echo_json, echo_table
from poolwise.registry import STRATEGIES, StrategySpec


def strategies(
    name: Annotated[str | None, typer.Argument(help="Show one strategy in full.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the strategies, or explain one.

    Example:  poolwise strategies margin
    """
    entries = [STRATEGIES[name]] if name else STRATEGIES.entries()
    if as_json:
        echo_json([describe(spec) for spec in entries])
    elif name:
        sys.stdout.write(explain(entries[0]))
    else:
        echo_table("", [_row(spec) for spec in entries])


def describe(spec: StrategySpec) -> dict[str, Any]:
    """The machine form of one strategy."""
    return {
        "name": spec.name,
        "family": spec.family,
        "needs": list(spec.needs),
        "uses": list(spec.uses),
        "options": {
            o.name: {"type": o.describe(), "default": o.default} for o in (spec.options | spec.lifted).values()
        },
        "paper": spec.paper,
        "cost": spec.cost,
        "use_when": spec.use_when,
        "oracle": spec.oracle,
        "summary": spec.summary,
    }


def explain(spec: StrategySpec) -> str:
    """All that is known about one strategy, as text."""
    module = inspect.getmodule(spec.function)
    options = [f"  --set {o.name}=...   {o.describe()}" for o in (spec.options | spec.lifted).values()]
    lines = [
        f"{spec.name} ({spec.family})" + (" - reads true labels: for simulations only" if spec.oracle else ""),
        "",
        (inspect.getdoc(module) or "").strip(),
        "",
        f"Needs: {', '.join(spec.needs) or 'nothing but the list of unlabeled items'}",
        f"Uses when there: {', '.join(spec.uses) or 'nothing more'}",
        f"Cost at a million rows: {spec.cost or 'not stated'}",
        f"Use it: {spec.use_when or 'not stated'}",
        f"Paper: {spec.paper}",
        "Options:",
        *options,
        "",
        inspect.getdoc(spec.function) or "",
    ]
    return "\n".join(lines) + "\n"


def _row(spec: StrategySpec) -> dict[str, str]:
    return {
        "name": spec.name,
        "family": spec.family,
        "needs": ", ".join(spec.needs) or "-",
        "at 1M rows": spec.cost or "-",
        "paper": spec.paper,
        "use it": spec.use_when,
    }
