"""Write docs/reference/ from the registries and the command line; `--check` fails if a page is not current."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import typer.main

import poolwise.pool  # noqa: F401  (registers everything)
from poolwise.cli.main import app
from poolwise.registry import BACKBONES, DATASETS, DETECTORS, EXPORTERS, STRATEGIES, Registry, StrategySpec

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTE = "Made by `scripts/make_reference.py`; do not edit.\n\n"


def strategy_section(spec: StrategySpec) -> str:
    """One strategy as Markdown."""
    options = [f"| `{o.name}` | {o.describe()} |" for o in (spec.options | spec.lifted).values()]
    lines = [
        f"## {spec.name}",
        "",
        inspect.getdoc(inspect.getmodule(spec.function)) or "",
        "",
        f"- Family: {spec.family}" + (" (reads true labels: simulations only)" if spec.oracle else ""),
        f"- Needs: {', '.join(f'`{n}`' for n in spec.needs) or 'nothing'}",
        f"- Uses when there: {', '.join(f'`{n}`' for n in spec.uses) or 'nothing more'}",
        f"- Cost at a million rows: {spec.cost or 'not stated'}",
        f"- Use it: {spec.use_when or 'not stated'}",
        f"- Paper: {spec.paper}",
        "",
    ]
    if options:
        lines += ["| Option | Type and default |", "| --- | --- |", *options, ""]
    return "\n".join([*lines, "```", inspect.getdoc(spec.function) or "", "```", ""])


def strategies_page() -> str:
    """All strategies."""
    listing = "\n".join(f"- [{s.name}](#{s.name}): {s.summary}" for s in STRATEGIES.entries())
    return f"# Strategies\n\n{NOTE}{listing}\n\n" + "\n".join(strategy_section(spec) for spec in STRATEGIES.entries())


def command_section(path: str, command: Any) -> list[str]:
    """One command as Markdown, then its subcommands."""
    rows = [
        f"| `{' '.join(p.opts) if p.param_type_name == 'option' else p.name}` | {getattr(p, 'help', None) or ''} |"
        for p in command.params
        if p.name != "help"
    ]
    text = inspect.cleandoc(command.help or "")
    lines = [f"## {path}", "", text, "", *(["| Option | |", "| --- | --- |", *rows, ""] if rows else [])]
    for name, inner in getattr(command, "commands", {}).items():
        lines += command_section(f"{path} {name}", inner)
    return lines


def commands_page() -> str:
    """All commands."""
    lines = ["# Commands", "", NOTE]
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        lines += command_section(f"poolwise {name}", command)
    return "\n".join(lines)


def names_page() -> str:
    """What else is registered: data sets, backbones, detectors, export formats."""
    lines = ["# Other names", "", NOTE]
    kinds: list[tuple[str, Registry[Any]]] = [
        ("Data sets", DATASETS),
        ("Backbones", BACKBONES),
        ("Out-of-distribution detectors", DETECTORS),
        ("Export formats", EXPORTERS),
    ]
    for title, registry in kinds:
        lines += [f"## {title}", ""]
        lines += [f"- `{name}`: {(inspect.getdoc(registry[name]) or '').splitlines()[0]}" for name in registry]
        lines.append("")
    return "\n".join(lines)


PAGES = {"strategies.md": strategies_page, "commands.md": commands_page, "names.md": names_page}


def main() -> int:
    """Write or check all pages; returns the exit code."""
    stale = []
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        text = page().rstrip() + "\n"
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if "--check" in sys.argv and stale:
        print(f"docs/reference: {', '.join(stale)} not current; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
