"""The code that the numbers of a run follow from, as a digest: a stopped benchmark continues only with the same code.

Found by reading import statements, also those inside functions, from the modules that every run goes through and from
the strategy's own module, within poolwise and within the package of the strategy.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from poolwise.registry import STRATEGIES

ROOTS = ("poolwise.bench.cell", "poolwise.bench.world", "poolwise.bench.fits", "poolwise.query")
ASIDE = frozenset(
    {
        "poolwise",  # the front door: imports everything
        "poolwise.bench",
        "poolwise.bench.suite",  # settings are part of a cell
        "poolwise.bench.tasks",  # data have their own digest
        "poolwise.errors",
        "poolwise.progress",
        "poolwise.strategies",  # the list of all strategies
    }
)
"""Modules that numbers do not follow from, and that are not followed."""
CALLS_BY_NAME = "poolwise.registry.STRATEGIES"
"""A strategy that imports this may call any other, as those that choose among strategies do."""
LIBRARIES = {"numpy": "numpy", "scipy": "scipy", "sklearn": "scikit-learn", "torch": "torch", "faiss": "faiss-cpu"}
"""Packages whose versions count where they are imported, and what they are called when installed."""


@lru_cache(maxsize=512)
def code_digest(*modules: str) -> str:
    """Digest the source of the modules that a run goes through, of the given ones, and of all that these import.

    Parameters
    ----------
    modules : such as the module of a strategy. One without a source file counts by its name only.
    """
    tops = {"poolwise", *(name.split(".")[0] for name in modules)}
    found = hashlib.sha256()
    files, libraries = _closure([*ROOTS, *modules], tops)
    if any(CALLS_BY_NAME in _imports(name, path) for name, path in files.items() if name not in ROOTS):
        every = [STRATEGIES[name].function.__module__ for name in STRATEGIES.names()]
        files, libraries = _closure([*ROOTS, *modules, *every], tops)
    for name, path in sorted(files.items()):
        found.update(name.encode())
        found.update(path.read_bytes())
    for library in sorted(libraries & set(LIBRARIES)):
        found.update(f"{library} {_version(LIBRARIES[library])}".encode())
    return found.hexdigest()


def _closure(names: list[str], tops: set[str]) -> tuple[dict[str, Path], set[str]]:
    """Source files of modules and of what they import under `tops`, and the other packages that they import."""
    files: dict[str, Path] = {}
    libraries: set[str] = set()
    while names:
        name = names.pop()
        path = None if name in files or name in ASIDE else _source(name)
        if path is None:
            continue
        files[name] = path
        for imported in _imports(name, path):
            top = imported.split(".")[0]
            if top in tops:
                names.append(imported)
            else:
                libraries.add(top)
    return files, libraries


@lru_cache(maxsize=1024)
def _imports(name: str, path: Path) -> tuple[str, ...]:
    """Modules that a file imports, anywhere in it."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return tuple(_imported(ast.parse(path.read_bytes()), package))


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


@lru_cache(maxsize=4096)
def _source(name: str) -> Path | None:
    """Source file of a module; None for what is no module, such as a function named in an import."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


@lru_cache(maxsize=32)
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
