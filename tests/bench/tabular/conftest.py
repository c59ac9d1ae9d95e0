"""Small folders of svmlight files, and cells cut from random data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from poolwise.bench.tabular.loader import TabularSet
from poolwise.bench.tabular.protocol import Cell, make_cell


def blobs(n: int = 50, d: int = 3, n_classes: int = 2, seed: int = 0, name: str = "blobs") -> TabularSet:
    """Overlapping Gaussian classes, sorted by class."""
    rng = np.random.default_rng(seed)
    y = np.sort(rng.permutation(np.arange(n) % n_classes))
    x = rng.normal(size=(n, d)) + 1.5 * np.eye(max(d, n_classes))[y][:, :d]
    return TabularSet(name, x, y.astype(np.int64), tuple(str(c) for c in range(n_classes)))


def cell_of(data: TabularSet, seed: int = 0, n_initial: int = 20) -> Cell:
    return make_cell(data, seed, n_initial)


@pytest.fixture
def cell() -> Cell:
    """30 train rows, 20 of them labeled, and 20 test rows."""
    return cell_of(blobs())


@pytest.fixture
def tabular_dir(shared_data: Path) -> Path:
    return shared_data / "tabular"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three written sets: two classes, three classes, and string labels."""
    for name, n_classes, labels in (("two", 2, "-1 +1"), ("three", 3, "1 2 3"), ("words", 2, "no yes")):
        data = blobs(60, 2, n_classes, seed=1)
        names = labels.split()
        rows = (
            f"{names[c]} " + " ".join(f"{i}:{float(v)!r}" for i, v in enumerate(row, 1))
            for row, c in zip(data.x, data.y, strict=True)
        )
        (tmp_path / f"{name}-svmstyle.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path
