"""How time and memory grow with the pool and with the batch: the slopes on a log-log plot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import poolwise as pw
from benchmarks.speed.data import head, rows
from benchmarks.speed.measure import measured
from poolwise.kernels.blocks import softmax_in_place

Query = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of the plot.

    along : "N" or "b"; values : where it is measured; steepest : largest slope of processor time
    build : gets one value and returns the call to measure
    """

    name: str
    along: str
    values: tuple[int, ...]
    steepest: float
    build: Callable[[int], Query]
    tiny: tuple[int, ...] = (400, 800)


def _coreset(n: int, b: int) -> Query:
    x = rows("structured", n, 512)
    return lambda: pw.select("coreset", embeddings=x, labeled=np.arange(10), batch_size=b)


def _badge(n: int, b: int, c: int) -> Query:
    x = rows("structured", n, 512)
    weight, bias = head(x, c)
    probs = softmax_in_place(x @ weight.T + bias)
    return lambda: pw.select("badge", embeddings=x, probs=probs, batch_size=b)


SIZES = (10_000, 20_000, 50_000, 100_000, 200_000)

CURVES = [
    Curve("k-center b=1000", "N", SIZES, 1.2, lambda n: _coreset(n, min(1000, n // 4))),
    Curve("k-center b=100", "N", SIZES, 1.2, lambda n: _coreset(n, min(100, n // 4))),
    Curve("k-center N=50k", "b", (250, 500, 1000, 2000), 1.7, lambda b: _coreset(50_000, b), (4, 8)),
    Curve("BADGE C=100 b=2000", "N", SIZES, 1.0, lambda n: _badge(n, min(2000, n // 4), 100)),
]


def measure_point(curve: Curve, value: int, repeats: int = 3) -> dict[str, Any]:
    """Measure one point here and now: least processor seconds, and bytes above the start."""
    curve.build(curve.tiny[0])()
    call = curve.build(value)
    costs = []
    for number in range(repeats):
        with measured(memory=number == 0) as cost:
            call()
        costs.append(cost)
    return {
        "name": curve.name,
        "along": curve.along,
        "value": value,
        "cpu_s": min(c.cpu_s for c in costs),
        "wall_s": min(c.wall_s for c in costs),
        "memory": costs[0].memory,
    }


def slope(points: list[dict[str, Any]], quantity: str = "cpu_s") -> float:
    """Least-squares slope of log(quantity) over log(value)."""
    x = np.log([point["value"] for point in points])
    y = np.log([max(point[quantity], 1e-9) for point in points])
    return float(np.polyfit(x, y, 1)[0])
