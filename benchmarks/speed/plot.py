"""Time and memory against the size of the pool, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw(slopes: Sequence[dict[str, Any]], path: Path) -> bool:
    """Write the picture; False where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for quantity, axis, label, unit in (
        ("cpu_s", axes[0], "processor time, seconds", 1.0),
        ("memory", axes[1], "memory above the pool's own, MB", 1e6),
    ):
        for curve in (s for s in slopes if s["along"] == "N"):
            points = sorted(curve["points"], key=lambda p: p["value"])
            name = curve["name"] + (f" (slope {curve['slope']:.2f})" if quantity == "cpu_s" else "")
            axis.loglog([p["value"] for p in points], [p[quantity] / unit for p in points], marker="o", label=name)
        axis.set_xlabel("rows of the pool (D = 512, one thread)")
        axis.set_ylabel(label)
        axis.grid(True, which="both", alpha=0.25)
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True
