"""What the README shows runs as printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
CODE = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", [c for c in CODE if "photos/" not in c])
def test_python_code_runs(code: str) -> None:
    exec(compile(code, str(README), "exec"), {})


def test_the_code_that_needs_photos_uses_real_names() -> None:
    import poolwise as pw

    code = next(c for c in CODE if "photos/" in c)
    for verb in re.findall(r"pool\.(\w+)\(", code):
        assert callable(getattr(pw.Pool, verb))


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\S+)", README.read_text(encoding="utf-8"), flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
