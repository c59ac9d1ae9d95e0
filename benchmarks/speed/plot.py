"""Time and memory against the size of the pool, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
"""Okabe and Ito's: told apart by everybody, also in grey."""

MARKERS = "osD^"


def draw(slopes: Sequence[dict[str, Any]], path: Path) -> bool:
    """Write the picture; False where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "speed"  # the same figures, the same bytes
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    curves = [s for s in slopes if s["along"] == "N" and s["points"]]
    sizes = sorted({p["value"] for s in curves for p in s["points"]})
    for quantity, axis, title in (
        ("cpu_s", axes[0], "processor time"),
        ("memory", axes[1], "memory beside the pool itself"),
    ):
        write = in_seconds if quantity == "cpu_s" else in_bytes
        for curve, colour, marker in zip(curves, COLOURS, MARKERS, strict=False):
            points = sorted(curve["points"], key=lambda p: p["value"])
            name = curve["name"] + (f", slope {curve['slope']:.2f}" if quantity == "cpu_s" else "")
            x, y = [p["value"] for p in points], [p[quantity] for p in points]
            axis.loglog(x, y, color=colour, marker=marker, markersize=5, label=name)
        _proportional(axis, sizes)
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("rows of the pool (512 columns, one thread)")
        axis.set_xticks(sizes, [f"{n // 1000}k" if n >= 1000 else str(n) for n in sizes])
        axis.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(lambda value, _, write=write: write(value))
        axis.minorticks_off()
        axis.grid(True, alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=8, frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return True


def _proportional(axis: Any, sizes: Sequence[int]) -> None:
    """A dotted line of slope 1 below all curves, for the eye."""
    low, high = axis.get_ylim()
    start = low / 1.3
    axis.plot(sizes, [start * n / sizes[0] for n in sizes], ":", color="0.6", label="in proportion to the rows")
    axis.set_ylim(start, max(high, start * sizes[-1] / sizes[0]))


def in_seconds(value: float) -> str:
    """Seconds in the unit that fits."""
    return f"{value:g} s" if value >= 1 else f"{1000 * value:g} ms"


def in_bytes(value: float) -> str:
    """Bytes in the unit that fits."""
    return f"{value / 1e6:g} MB" if value >= 1e6 else f"{value / 1e3:g} kB"
