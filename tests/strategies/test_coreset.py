"""Facts particular to core-set; the contract every strategy obeys is in test_contract.py."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import InputError


def brute_force(x: np.ndarray, labeled: list[int], unlabeled: list[int], batch_size: int) -> list[int]:
    """Algorithm 1 of the paper, written as plainly as possible."""
    chosen, batch = list(labeled), []
    for _ in range(batch_size):
        rest = [u for u in unlabeled if u not in batch]
        gaps = [min(float(((x[u] - x[c]) ** 2).sum()) for c in chosen) for u in rest]
        batch.append(rest[int(np.argmax(gaps))])
        chosen.append(batch[-1])
    return batch


@pytest.mark.parametrize("seed", range(5))
def test_matches_brute_force(seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(60, 3)).astype(np.float32)
    labeled = np.arange(0, 60, 8)
    unlabeled = np.setdiff1d(np.arange(60), labeled)
    got = pw.select("coreset", embeddings=x, labeled=labeled, batch_size=12)
    assert got.indices.tolist() == brute_force(x.astype(float), list(labeled), list(unlabeled), 12)


def test_takes_one_item_from_each_far_cluster() -> None:
    x = np.repeat([[0.0], [10.0], [20.0]], 5, axis=0)
    got = pw.select("coreset", embeddings=x, labeled=[0], batch_size=2)
    assert sorted(x[got.indices, 0]) == [10.0, 20.0]
    assert got.indices.tolist() == [10, 5]


def test_a_cold_start_begins_at_the_row_whose_farthest_row_is_nearest() -> None:
    x = np.array([[0.0], [1.0], [2.0], [3.0], [9.0], [3.5]])  # farthest rows: 9, 8, 7, 6, 9, 5.5; mean 3.08
    got = pw.select("coreset", embeddings=x, batch_size=2)
    assert got.indices.tolist() == [5, 4]
    assert got.scores is not None
    assert got.scores.tolist() == [5.5, 5.5]
    assert got.components["nearest"].tolist() == [-1, 5]
    assert got.notes["cover_radius"] == 3.5
    assert pw.select("coreset", embeddings=x, batch_size=2, first="mean").indices.tolist() == [3, 4]


def test_a_random_cold_start_follows_the_seed() -> None:
    x = np.random.default_rng(0).normal(size=(200, 4))
    starts = {
        int(pw.select("coreset", embeddings=x, batch_size=1, first="random", seed=s).indices[0]) for s in range(9)
    }
    assert len(starts) > 4


def test_distinct_rows_come_before_copies_and_then_the_lowest_index() -> None:
    x = np.tile(np.arange(10.0)[:, None], (6, 2))
    got = pw.select("coreset", embeddings=x, labeled=[3], batch_size=59)
    assert sorted(x[got.indices[:9], 0]) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert got.indices[9:].tolist() == sorted(set(range(60)) - {3} - set(got.indices[:9].tolist()))


def test_cosine_ignores_the_length_of_rows() -> None:
    r = np.random.default_rng(0)
    x = r.normal(size=(50, 4))
    longer = x * r.uniform(0.5, 100, size=(50, 1))
    a = pw.select("coreset", embeddings=x, labeled=[0], batch_size=20, metric="cosine")
    b = pw.select("coreset", embeddings=longer, labeled=[0], batch_size=20, metric="cosine")
    assert a.indices.tolist() == b.indices.tolist()


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int32])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_caller_s_array_is_not_touched(dtype: type, metric: str) -> None:
    x = (10 * np.random.default_rng(0).normal(size=(600, 130))).astype(dtype)
    before = x.copy()
    pw.select("coreset", embeddings=x, batch_size=300, metric=metric)
    np.testing.assert_array_equal(x, before)


def test_each_pick_names_its_nearest_labeled_or_picked_item() -> None:
    x = np.array([[0.0], [1.0], [10.0], [11.0], [30.0]])
    got = pw.select("coreset", embeddings=x, labeled=[0], batch_size=3)
    assert got.indices.tolist() == [4, 3, 1]
    assert got.components["nearest"].tolist() == [0, 0, 0]
    assert got.scores is not None
    assert got.scores.tolist() == [30, 11, 1]
    assert got.notes["cover_radius"] == 1


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("where", [0, 7, 2500, 4999])
def test_nan_and_inf_are_found_on_the_way_with_and_without_labels(where, metric):
    for value in (np.nan, np.inf):
        x = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float16)
        x[where, 1] = value
        for labeled in (None, np.arange(7, 5000, 700)):
            with pytest.raises(InputError, match=f"embeddings row {where} holds NaN"):
                pw.select("coreset", embeddings=x, labeled=labeled, batch_size=5, metric=metric)
