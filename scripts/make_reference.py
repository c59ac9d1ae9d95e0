"""Write docs/reference/ from the registries, the command line and the committed results of the zoo suites.

`--check` writes nothing and fails if a file is not current.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer.main
from toy_pictures import LEGEND, draw, picks_of, toy_pool

import poolwise.pool  # noqa: F401  (registers everything)
from poolwise.bench.measured import Measured, compress, conclusion, of_strategy, unpack, written
from poolwise.bench.results import read_results
from poolwise.cli.main import app
from poolwise.cli.strategies import by_family
from poolwise.registry import BACKBONES, DATASETS, DETECTORS, EXPORTERS, STRATEGIES, Registry, StrategySpec, type_name

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
NOTE = "Made by `scripts/make_reference.py`; do not edit.\n\n"


MEASURED = "src/poolwise/bench/measured.json"


def strategy_page(spec: StrategySpec, measured: Sequence[Measured]) -> str:
    """One strategy as Markdown: what it is, what it picks, where it wins and loses, options, definition."""
    options = [
        f"| `{o.name}` | `{'none' if o.default is None else o.default}` | {type_name(o.type)} | {o.text} |"
        for o in (spec.options | spec.lifted).values()
    ]
    lines = [
        f"# {spec.name}",
        "",
        NOTE.rstrip(),
        "",
        inspect.getdoc(inspect.getmodule(spec.function)) or "",
        "",
        f"- Family: {spec.family}" + (" (reads true labels: simulations only)" if spec.oracle else ""),
        f"- Needs: {', '.join(f'`{n}`' for n in spec.needs) or 'nothing'}",
        f"- Uses when there: {', '.join(f'`{n}`' for n in spec.uses) or 'nothing more'}",
        f"- Cost at a million rows: {spec.cost or 'not stated'}",
        f'- With a device (`device="cuda"`), computed there: {", ".join(spec.on_device) or "nothing"}',
        f"- Use it: {spec.use_when or 'not stated'}",
        f"- Paper: {spec.paper}",
        "",
        "## What it picks",
        "",
        f"![What {spec.name} picks from a small pool]({spec.name}.svg)",
        "",
        LEGEND,
        "",
        "## Where it wins and loses",
        "",
        conclusion(spec.name, measured, oracle=spec.oracle),
        "",
        *wins_and_losses(of_strategy(spec.name, measured)),
        "## Options",
        "",
        "| Option | Default | Values | |",
        "| --- | --- | --- | --- |",
        *options,
        "",
        "## Definition",
        "",
        "```",
        inspect.getdoc(spec.function) or "",
        "```",
    ]
    return "\n".join(lines)


def wins_and_losses(found: Sequence[Measured]) -> list[str]:
    """The table of one strategy: each data set, each variant; nothing for the baseline."""
    rows = [m for m in found if m.points is not None]
    if not rows:
        return []
    sign = {"better": "wins", "worse": "loses", "unclear": ""}
    return [
        "Area under the accuracy curve minus that of random on the same seeds, in percentage points, with a 95 % "
        "interval; wins and losses at 5 % after Holm's correction for all strategies of a data set. "
        f"{max(m.seeds for m in rows)} seeds; how it was made is in [the results](../../../benchmarks/results).",
        "",
        "| Suite | Data set | As | Minus random | | Place |",
        "| --- | --- | --- | ---: | --- | ---: |",
        *(
            f"| {m.suite} | {m.dataset} | `{m.label}` | {written(m)} | {sign[m.verdict]} | "
            f"{'-' if m.place is None else f'{m.place} of {m.of}'} |"
            for m in rows
        ),
        "",
    ]


def strategies_page() -> str:
    """All strategies, by family, with what they pick."""
    lines = ["# Strategies", "", NOTE.rstrip(), "", LEGEND, ""]
    for title, members in by_family(STRATEGIES.entries()).items():
        lines += [f"## {title}", ""]
        lines += [f"- [{s.name}](strategies/{s.name}.md): {s.summary}" for s in members]
        lines += ["", *gallery([s.name for s in members]), ""]
    return "\n".join(lines)


def gallery(names: Sequence[str]) -> list[str]:
    """Small pictures with names, three in a row."""
    lines = ["<table>"]
    for start in range(0, len(names), 3):
        cells = "".join(
            f'<td align="center"><a href="strategies/{name}.md"><img src="strategies/{name}.svg" width="260" '
            f'alt="What {name} picks"></a><br>{name}</td>'
            for name in names[start : start + 3]
        )
        lines.append(f"<tr>{cells}</tr>")
    return [*lines, "</table>"]


def strategy_files() -> dict[str, str]:
    """Path below docs/reference -> text, two files for each strategy."""
    measured = unpack(json.loads(measured_file()))
    toy = toy_pool()
    files = {}
    for spec in STRATEGIES.entries():
        files[f"strategies/{spec.name}.md"] = strategy_page(spec, measured)
        files[f"strategies/{spec.name}.svg"] = str(draw(toy, picks_of(spec, toy), spec.name))
    return files


def measured_file() -> str:
    """The summary of the committed zoo results that goes into the package, one row a line."""
    found = [read_results(path) for path in sorted((ROOT / "benchmarks" / "results").glob("zoo*.parquet"))]
    return json.dumps(compress(found), ensure_ascii=False).replace("], [", "],\n[")


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


def all_files() -> dict[Path, str]:
    """Every file that is made, with its text."""
    pages = {"strategies.md": strategies_page(), "commands.md": commands_page(), "names.md": names_page()}
    files = {FOLDER / name: text for name, text in (pages | strategy_files()).items()}
    return {path: text.rstrip() + "\n" for path, text in (files | {ROOT / MEASURED: measured_file()}).items()}


def main() -> int:
    """Write or check all files; returns the exit code.

    `--check` only checks. With `--texts` a picture counts as current if it is there: another processor's last digit
    may decide a near tie between two picks, and then draws another picture.
    """
    files = all_files()
    stale = [
        path
        for path, text in files.items()
        if not path.exists()
        or (path.read_text(encoding="utf-8") != text and not ("--texts" in sys.argv and path.suffix == ".svg"))
    ]
    left = [p for p in (FOLDER / "strategies").glob("*") if p not in files]
    if "--check" in sys.argv:
        if stale or left:
            names = ", ".join(str(path.relative_to(ROOT)) for path in [*stale, *left])
            print(f"{names} not current; run `make docs`", file=sys.stderr)
        return int(bool(stale or left))
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
    for path in left:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
