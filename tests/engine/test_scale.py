"""Selection over real processes from one file or several parts, at size: the same batch as in one process."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.speed.generators import structured

import poolwise as pw
from poolwise.store.arrays import open_rows

pytest.importorskip("torch")
pytestmark = pytest.mark.scale

N, D, C = 30_000, 128, 20
SPLIT = ["margin", "entropy", "mase", "base", "badge", "coreset"]
ALONE = ["typiclust", "kmeans"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """float16 rows in one file, and the same in parts of unequal length."""
    folder = tmp_path_factory.mktemp("pool")
    x = structured(N, D).astype(np.float16)
    np.save(folder / "x.npy", x)
    (folder / "parts").mkdir()
    for number, (start, stop) in enumerate([(0, 7000), (7000, 7001), (7001, N)]):
        np.save(folder / "parts" / f"part-{number:05d}.npy", x[start:stop])
    return folder


@pytest.fixture(scope="module")
def around():
    rng = np.random.default_rng(0)
    labels = np.full(N, -1)
    labels[rng.choice(N, 200, replace=False)] = rng.integers(0, C, 200)
    return {"labels": labels, "head_weight": rng.normal(size=(C, D)).astype(np.float32) / np.sqrt(D)}


@pytest.mark.parametrize("name", [*SPLIT, *ALONE])
def test_processes_choose_the_batch_of_one_process(name, folder, around):
    asked = {"batch_size": 200, "seed": 3, **around}
    one = pw.select(name, embeddings=open_rows(folder / "x.npy"), **asked)
    split = pw.select(name, embeddings=open_rows(folder / "x.npy"), engine="processes", workers=2, **asked)
    assert np.array_equal(split.indices, one.indices)
    assert split.notes["workers"] == (2 if name in SPLIT else 1)


@pytest.mark.parametrize("name", SPLIT)
def test_three_workers_and_a_pool_of_several_parts_choose_it_too(name, folder, around):
    asked = {"batch_size": 200, "seed": 3, **around}
    one = pw.select(name, embeddings=open_rows(folder / "x.npy"), **asked)
    split = pw.select(name, embeddings=open_rows(folder / "parts"), engine="processes", workers=3, **asked)
    assert np.array_equal(split.indices, one.indices)
