"""Write docs/reference/strategies.md from the registry; `--check` fails if the file is not current."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import poolwise.pool  # noqa: F401  (registers every strategy)
from poolwise.registry import STRATEGIES, StrategySpec

TARGET = Path(__file__).resolve().parents[1] / "docs" / "reference" / "strategies.md"


def section(spec: StrategySpec) -> str:
    """One strategy as Markdown."""
    module = inspect.getdoc(inspect.getmodule(spec.function)) or ""
    options = [f"| `{o.name}` | {o.describe()} |" for o in spec.options.values()]
    lines = [
        f"## {spec.name}",
        "",
        module,
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
    lines += ["```", inspect.getdoc(spec.function) or "", "```", ""]
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    head = "# Strategies\n\nMade from the registry by `scripts/make_reference.py`; do not edit.\n\n"
    listing = "\n".join(f"- [{s.name}](#{s.name}): {s.summary}" for s in STRATEGIES.entries())
    return head + listing + "\n\n" + "\n".join(section(spec) for spec in STRATEGIES.entries())


def main() -> int:
    text = page()
    if "--check" in sys.argv:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
            print(f"{TARGET.name} is not current; run `make docs`", file=sys.stderr)
            return 1
        return 0
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
