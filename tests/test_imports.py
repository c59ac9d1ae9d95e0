"""Imports point downward only, as the picture in docs/architecture.md says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "poolwise"

ROWS = [
    {"types", "errors", "chance", "registry", "progress"},
    {"kernels"},
    {"ood", "stats"},
    {"strategies"},
    {"reduce"},
    {"calling"},
    {"query"},
    {"store", "datasets", "models"},
    {"engine"},
    {"train", "oracles", "exporters", "reserve"},
    {"loop"},
    {"audit"},
    {"auto", "bench", "apps", "status"},
    {"report", "web"},
    {"pool"},
    {"__init__"},
    {"cli"},
    {"__main__"},
]
"""From the bottom up. Members of the two lowest rows may import each other; elsewhere only downward."""

RANK = {name: rank for rank, row in enumerate(ROWS) for name in row}
PURE = {"types", "errors", "chance", "registry", "progress", "kernels", "strategies", "ood", "stats"}
FOLDERS = ["strategies", "ood", "datasets", "models", "exporters", "report"]


def unit(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Full names of all modules that a file imports, at any depth."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_downward(path: Path) -> None:
    here = unit(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "poolwise" or len(parts) < 2:
            continue
        there = parts[1] if parts[1] in RANK else "__init__"
        assert there == here or RANK[there] < RANK[here] or RANK[there] == RANK[here] == 0, (
            f"{path.relative_to(SOURCE)} imports {name}: {there} is not below {here}"
        )


@pytest.mark.parametrize("path", [p for p in FILES if unit(p) in PURE], ids=lambda p: str(p.relative_to(SOURCE)))
def test_the_middle_knows_no_torch_and_no_files(path: Path) -> None:
    forbidden = {"torch", "sqlite3", "pyarrow", "pandas"}
    if path == SOURCE / "kernels" / "backend.py":
        forbidden -= {"torch"}
    assert not forbidden & {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_of_a_registry_folder_is_imported(folder: str) -> None:
    listed = {name.rsplit(".", 1)[1] for name in imports(SOURCE / folder / "__init__.py") if name.count(".") >= 2}
    there = {p.stem for p in (SOURCE / folder).glob("*.py")} - {"__init__"}
    helpers = {"page"} if folder == "report" else {"gate", "labels", "pareto"} if folder == "ood" else set()
    assert there - helpers <= listed, f"add to {folder}/__init__.py: {sorted(there - helpers - listed)}"
