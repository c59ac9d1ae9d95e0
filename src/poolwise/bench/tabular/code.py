"""What the numbers of a row follow from beside its settings: code and versions, as a digest."""

from __future__ import annotations

import hashlib
import inspect
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy
import scipy
import sklearn

from poolwise.bench import follows
from poolwise.bench.tabular import evaluate, loader, metrics, oracle, protocol, simulate
from poolwise.bench.tabular.bridge import find_strategy
from poolwise.bench.tabular.oracle import ORACLES
from poolwise.stats import curves

COMMON = (curves.__name__, *(m.__name__ for m in (evaluate, loader, metrics, protocol, simulate)))
OWN = "poolwise.bench.tabular"
"""Modules of this package count whole; of other packages only the functions that are used."""


@lru_cache(maxsize=256)
def code_digest(strategy: str) -> str:
    """Digest the code of the protocol, of a strategy and of what it leans on, and the versions of the libraries.

    A row of another digest is run again when a stopped run continues. Constants that a module imports alone, without a
    function or class of the same module, are not followed.
    """
    entry = None if strategy in ORACLES else find_strategy(strategy)
    module = oracle.__name__ if entry is None else entry.query.__module__
    found = hashlib.sha256(" ".join((numpy.__version__, scipy.__version__, sklearn.__version__)).encode())
    modules = _with_helpers([*COMMON, module])
    for name in sorted(modules):
        file = getattr(sys.modules[name], "__file__", None)
        if file:
            found.update(Path(file).read_bytes())
    for used in sorted(_borrowed(modules), key=lambda used: (used.__module__, used.__qualname__)):
        found.update(inspect.getsource(used).encode())
    if entry is not None and entry.ordinary is not None:
        function = entry.ordinary.function
        found.update(follows.code_digest(function.__module__).encode() + function.__code__.co_code)
    elif entry is not None:
        found.update(entry.query.__code__.co_code)  # all there is of a function that was typed in
    return found.hexdigest()[:16]


def _with_helpers(names: list[str]) -> set[str]:
    """Add the modules of this package that the given ones take functions or classes from."""
    known: set[str] = set()
    while names:
        name = names.pop()
        if name not in known:
            known.add(name)
            sources = (getattr(value, "__module__", None) for value in vars(sys.modules[name]).values())
            names += [s for s in sources if isinstance(s, str) and s.startswith(OWN) and s in sys.modules]
    return known


def _borrowed(modules: set[str]) -> set[Any]:
    """List the functions that modules take from the kernels."""
    return {
        value
        for name in modules
        for value in vars(sys.modules[name]).values()
        if inspect.isfunction(value) and value.__module__.startswith("poolwise.kernels")
    }
