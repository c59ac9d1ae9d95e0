"""Real features: Tiny ImageNet, 100,000 rows of 64 (a MobileNet's, reduced by PCA), stored as float16 and float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import poolwise as pw
from benchmarks.speed.data import head
from benchmarks.speed.measure import measured

FILE = Path("features") / "tiny_imagenet200_pool100k_mobilenetv1_025_pca64.npz"
STRATEGIES = ("margin", "entropy", "mase", "base", "badge", "coreset", "typiclust")
BATCH = 1000


def load(data_dir: Path) -> np.ndarray | None:
    """The (N, 64) float array, or None where the file is not there."""
    path = data_dir / FILE
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        name = max(file.files, key=lambda key: file[key].size)
        return np.ascontiguousarray(file[name])


def measure_strategy(x: np.ndarray, strategy: str, batch_size: int = BATCH, repeats: int = 3) -> dict[str, Any]:
    """Time one strategy on float16 rows, and count the picks that float32 rows with noise below float16's would share.

    The stored rows are float16; their float32 copy is what a model would have given before rounding, as far as
    anybody can know: each value plus a uniform error of up to half a unit in the last place.
    """
    stored = x.astype(np.float16)
    exact = stored.astype(np.float32)
    half = np.abs(np.spacing(stored)).astype(np.float32) / 2
    exact += half * np.random.default_rng(0).uniform(-1, 1, size=exact.shape).astype(np.float32)
    weight, bias = head(exact, 200)
    given: dict[str, Any] = {"head_weight": weight, "head_bias": bias}
    costs, picks = [], {}
    for name, rows in (("float32", exact), ("float16", stored)):
        for _ in range(repeats):
            with measured() as cost:
                picks[name] = pw.select(strategy, embeddings=rows, **given, batch_size=batch_size).indices
            costs.append((name, cost.cpu_s))
    shared = len(np.intersect1d(picks["float16"], picks["float32"])) / batch_size
    least = {name: min(s for n, s in costs if n == name) for name in ("float16", "float32")}
    return {"strategy": strategy, "n": len(x), "batch_size": batch_size, "shared": shared, **least}
