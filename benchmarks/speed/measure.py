"""Clocks, anonymous memory, and the facts about a machine that a figure is worth nothing without."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.metadata
import os
import platform
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLE_S = 0.005
"""How often anonymous memory is read."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

PACKAGES = ("numpy", "scipy", "scikit-learn", "faiss-cpu", "torch", "scikit-activeml", "modAL-python", "small-text")
MORE_PACKAGES = ("baal", "apricot-select", "submodlib-py", "numba")


@dataclass(slots=True)
class Cost:
    """What one call took: processor seconds (user + system, all threads), wall seconds, bytes above the start."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    memory: int = 0
    before: int = 0


def thread_environment(threads: int) -> dict[str, str]:
    """The environment of a child in which every numerical library uses so many threads."""
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}


def anonymous_bytes() -> int:
    """Anonymous resident memory of this process (RssAnon); pages of mapped files are not counted. 0 if unknown."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text())
    return int(found[1]) * 1024 if found else 0


def give_back() -> None:
    """Return memory that was freed to the system; what a call then takes from it counts again."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


@contextlib.contextmanager
def measured(*, memory: bool = False) -> Iterator[Cost]:
    """Measure the body; with `memory` a thread reads the anonymous memory every 5 ms."""
    if memory:
        give_back()
    cost = Cost(before=anonymous_bytes())
    peak = [cost.before]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(SAMPLE_S):
            peak[0] = max(peak[0], anonymous_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    if memory:
        watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield cost
    finally:
        cost.cpu_s, cost.wall_s = time.process_time() - cpu, time.perf_counter() - wall
        if memory:
            peak[0] = max(peak[0], anonymous_bytes())
            stop.set()
            watcher.join()
            cost.memory = peak[0] - cost.before


def environment() -> dict[str, Any]:
    """Versions, processor, its vector instructions and the load now."""
    return {
        "python": platform.python_version(),
        "packages": {name: version for name in (*PACKAGES, *MORE_PACKAGES) if (version := _version(name))},
        "processor": _processor(),
        "vector_flags": _flags(),
        "cores": os.cpu_count(),
        "load": [round(value, 1) for value in os.getloadavg()],
    }


def _version(package: str) -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return ""


def _cpuinfo(field: str) -> str:
    path = Path("/proc/cpuinfo")
    found = re.search(rf"^{field}\s*: (.*)$", path.read_text(), re.MULTILINE) if path.exists() else None
    return found[1].strip() if found else ""


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _flags() -> list[str]:
    wanted = re.compile(r"^(avx|fma$|f16c$|amx|sse4_2$)")
    return sorted(flag for flag in _cpuinfo("flags").split() if wanted.match(flag))
