"""How far each package gets: 1000, 10,000, 100,000 and 1.28 million rows, D = 512, C = 100, 100 picks.

A package is run while the memory it must allocate and the time it is expected to take stay within `MEMORY` and
`SECONDS`; beyond that the table gives what it would need, from the arrays its code allocates, or the time of the
largest run carried on in proportion to its growth.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import poolwise as pw
from benchmarks.peers import packages, textbook
from benchmarks.peers.packages import PIP_NAMES, Query
from benchmarks.speed.data import head, probabilities, rows
from benchmarks.speed.measure import measured
from poolwise.kernels.blocks import softmax_in_place
from poolwise.types import FloatArray

SIZES = (1000, 10_000, 100_000, 1_281_167)
D, C, B = 512, 100, 100
N_LABELED = 10
MEMORY = 8 * 2**30
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Method:
    """One line of the table.

    array : the largest arrays it allocates, as a formula in words; bytes_for : the same as a number, from N
    growth : its time grows as N to this power
    """

    name: str
    task: str
    needs: str
    array: str
    bytes_for: Callable[[int], float]
    build: Callable[[int], Query]
    growth: float = 1.0


def _pool(n: int) -> FloatArray:
    return rows("structured", n, D)


def _scored(n: int) -> tuple[FloatArray, FloatArray]:
    x = _pool(n)
    weight, bias = head(x, C)
    return x, softmax_in_place(x @ weight.T + bias)


def _own(strategy: str) -> Callable[[int], Query]:
    def build(n: int) -> Query:
        if strategy == "margin":
            probs = probabilities("structured", n, C)
            return lambda: pw.select("margin", probs=probs, batch_size=B).indices
        if strategy == "badge":
            x, probs = _scored(n)
            return lambda: pw.select("badge", embeddings=x, probs=probs, batch_size=B).indices
        x = _pool(n)
        labeled = np.arange(n - N_LABELED, n)
        return lambda: pw.select("coreset", embeddings=x, labeled=labeled, batch_size=B).indices

    return build


def _margin(query: Callable[[FloatArray, str, int], Query], method: str) -> Callable[[int], Query]:
    return lambda n: query(probabilities("structured", n, C), method, B)


def _matrix(n: int) -> Query:
    x, labeled = _pool(n), np.arange(n - N_LABELED, n)
    return lambda: textbook.k_center_matrix(x, labeled, B)


METHODS = [
    Method("poolwise margin", "margin", "", "4 N + blocks of 16 MB", lambda n: 4.0 * n, _own("margin")),
    Method("baal Margin", "margin", "baal", "4 N C", lambda n: 4.0 * n * C, _margin(packages.baal, "Margin")),
    Method("modAL margin", "margin", "modAL", "8 N C", lambda n: 8.0 * n * C, _margin(packages.modal, "margin")),
    Method(
        "small-text BreakingTies",
        "margin",
        "small_text",
        "8 N",
        lambda n: 8.0 * n,
        _margin(packages.small_text, "BreakingTies"),
    ),
    Method(
        "scikit-activeml UncertaintySampling",
        "margin",
        "skactiveml",
        "8 N B + 4 N C",
        lambda n: 8.0 * n * B + 4.0 * n * C,
        _margin(packages.activeml_uncertainty, "margin_sampling"),
    ),
    Method("poolwise coreset", "k-center", "", "300 N + blocks", lambda n: 300.0 * n, _own("coreset")),
    Method(
        "scikit-activeml CoreSet",
        "k-center",
        "skactiveml",
        "8 N B + 8 N D",
        lambda n: 8.0 * n * (B + D),
        lambda n: packages.activeml_features(_pool(n), np.arange(n - N_LABELED, n), "CoreSet", B),
    ),
    Method(
        "small-text GreedyCoreset",
        "k-center",
        "small_text",
        "8 N D",
        lambda n: 8.0 * n * D,
        lambda n: packages.small_text_coreset(_pool(n), np.arange(n - N_LABELED, n), B),
        1.0,
    ),
    Method("textbook, distance matrix", "k-center", "", "8 N N", lambda n: 8.0 * n * n, _matrix, 2.0),
    Method("poolwise badge", "BADGE", "", "8 N + blocks", lambda n: 8.0 * n, _own("badge")),
    Method(
        "scikit-activeml Badge",
        "BADGE",
        "skactiveml",
        "12 N C D",
        lambda n: 12.0 * n * C * D,
        lambda n: packages.activeml_badge(*_scored(n), B),
    ),
    Method(
        "apricot facility location",
        "coverage",
        "apricot",
        "16 N N",
        lambda n: 16.0 * n * n,
        lambda n: packages.apricot(_pool(n), B),
        2.0,
    ),
    Method(
        "submodlib facility location",
        "coverage",
        "submodlib",
        "8 N N",
        lambda n: 8.0 * n * n,
        lambda n: packages.submodlib(_pool(n), B),
        2.0,
    ),
]


def measure_method(method: Method, n: int) -> dict[str, Any]:
    """Run one method once, after a warm-up, here and now."""
    if method.needs and importlib.util.find_spec(method.needs) is None:
        return {"status": "not installed", "text": f"pip install {PIP_NAMES[method.needs]}"}
    method.build(300)()
    call = method.build(n)
    with measured(memory=True) as cost:
        call()
    return {"status": "ok", "cpu_s": cost.cpu_s, "memory": cost.memory}


def expected(method: Method, n: int, earlier: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What to print instead of running: the memory it would need, or a time beyond the limit. None: run it."""
    if method.bytes_for(n) > MEMORY:
        return {"status": "memory", "bytes": method.bytes_for(n), "text": method.array}
    runs = [cell for cell in earlier if cell["status"] in ("ok", "time")]
    if runs:
        last = runs[-1]
        seconds = last["cpu_s"] * (n / last["n"]) ** method.growth
        if seconds > SECONDS:
            return {"status": "time", "cpu_s": seconds}
    return None
