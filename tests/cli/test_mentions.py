"""Messages and documents name only commands and flags that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from poolwise.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = typer.main.get_command(app).commands
TEXTS = [
    *(ROOT / "src" / "poolwise").rglob("*.py"),
    *(ROOT / "docs").rglob("*.md"),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
]


def flags(command) -> set[str]:
    """All flags of a command; of its subcommands too, where it has some."""
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for inner in getattr(command, "commands", {}).values():
        own |= flags(inner)
    return own | {"--help"}


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_that_is_named_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    fenced = "".join(re.findall(r"^```.*?^```", text, flags=re.MULTILINE | re.DOTALL))
    found = re.findall(r"(?:`|Example:  )poolwise ([a-z-]+)([^`\n]*)", text)
    found += re.findall(r"^ *poolwise ([a-z-]+)([^\n]*)", fenced, flags=re.MULTILINE)
    for verb, rest in found:
        assert verb in COMMANDS, f"{path.name} names `poolwise {verb}`"
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest.split("#")[0]):
            assert flag in flags(COMMANDS[verb]), f"{path.name} names `poolwise {verb} {flag}`"
