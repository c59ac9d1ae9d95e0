"""What AutoAL costs at a million rows besides its candidates."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import poolwise as pw
from poolwise.auto import autoal, nominations

N, D, B, L = 1_000_000, 512, 10_000, 2000
NAMES = ("margin", "entropy", "least_confidence", "badge", "typiclust", "maxherding", "cluster_margin", "kmeans")


@pytest.mark.scale
def test_search_at_a_million_rows_takes_a_minute_and_4_gb_besides_scoring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    x = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float16, shape=(N, D))
    for start in range(0, N, 50_000):
        x[start : start + 50_000] = rng.standard_normal((50_000, D), dtype=np.float32)
    y = (x[:L, :10].argmax(axis=1)).astype(np.int64)

    def scored(now: Any, names: Any, count: int, seed: int) -> nominations.Nominations:
        rows = [rng.choice(now.unlabeled, count, replace=False) for _ in NAMES]
        union = np.unique(np.concatenate(rows))
        grades = np.zeros((len(union), len(NAMES)))
        for k, some in enumerate(rows):
            grades[np.searchsorted(union, some), k] = np.linspace(1, 0.5, count)
        return nominations.Nominations(NAMES, union, grades)

    monkeypatch.setattr(autoal, "nominate", scored)
    head = {"head_weight": np.eye(10, D, dtype=np.float32), "head_bias": np.zeros(10, dtype=np.float32)}
    tracemalloc.start()
    start = time.process_time()
    got = pw.select("autoal", embeddings=x, labeled=np.arange(L), labels=y, batch_size=B, candidates=NAMES, **head)
    seconds = time.process_time() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(got.indices.tolist())) == B
    assert got.notes["search"] == "gain" and got.notes["nominated"] > 60_000
    assert seconds < 60, f"{seconds:.0f} s of processor time"
    assert peak < 4e9, f"{peak:,} bytes"
