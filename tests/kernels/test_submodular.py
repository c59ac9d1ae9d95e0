"""Lazy greedy, facility location and greedy k-DPP pick what their plain forms pick."""

from __future__ import annotations

import time

import numpy as np
import pytest
from benchmarks.speed.generators import isotropic, structured
from benchmarks.speed.kept import in_child

import poolwise.kernels.submodular as submodular
from poolwise.errors import InputError
from poolwise.kernels.submodular import (
    DenseSimilarity,
    PairSimilarity,
    SparseSimilarity,
    facility_location,
    greedy_k_dpp,
    knn_similarity,
    lazy_greedy,
)


def plain_facility_location(s: np.ndarray, count: int, given: tuple[int, ...] = ()) -> tuple[list[int], list[float]]:
    """Every gain at every step; row j is what item j covers."""
    covered = np.max([np.zeros(len(s)), *s[list(given)]], axis=0)
    picks: list[int] = []
    gains = []
    for _ in range(count):
        gain = np.maximum(s - covered, 0).sum(axis=1, dtype=np.float64)
        gain[picks] = -1
        picks.append(int(gain.argmax()))
        gains.append(float(gain.max()))
        covered = np.maximum(covered, s[picks[-1]])
    return picks, gains


def cholesky_greedy(x: np.ndarray, count: int) -> tuple[list[int], list[float]]:
    """Chen et al. 2018, Algorithm 1, with the N x k rows of the Cholesky factor."""
    x = x.astype(np.float64)
    residual = (x * x).sum(axis=1)
    factor = np.zeros((len(x), count))
    picks, values = [], []
    for t in range(count):
        j = int(residual.argmax())
        picks.append(j)
        values.append(float(residual[j]))
        e = (x @ x[j] - factor[:, :t] @ factor[j, :t]) / np.sqrt(residual[j])
        factor[:, t] = e
        residual -= e * e
        residual[j] = -np.inf
    return picks, values


@pytest.mark.parametrize("metric", ["cosine", "rbf"])
@pytest.mark.parametrize("kept", [True, False])
def test_lazy_facility_location_picks_like_plain_greedy(
    metric: submodular.Metric, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submodular, "KEEP_BYTES", 2**26 if kept else 0)
    x = structured(400, 20)
    pairs = PairSimilarity(x, metric)
    got, gains = facility_location(DenseSimilarity(pairs), 40)
    want, want_gains = plain_facility_location(pairs.rows(slice(0, 400)), 40)
    assert got.tolist() == want
    np.testing.assert_allclose(gains, want_gains, rtol=1e-5)
    assert np.all(np.diff(gains) <= 1e-6)


def test_equal_gains_go_to_the_lowest_position() -> None:
    s = np.kron(np.eye(5), np.ones((4, 4)))  # five groups of four equal items
    got, gains = facility_location(DenseSimilarity(s), 7)
    assert got.tolist() == [0, 4, 8, 12, 16, 1, 2]
    assert gains.tolist() == [4, 4, 4, 4, 4, 0, 0]


def test_given_items_cover_already_and_only_candidates_are_picked() -> None:
    s = np.random.default_rng(0).random((60, 60))
    want, _ = plain_facility_location(s, 60, given=(3, 9))
    assert facility_location(DenseSimilarity(s), 5, given=np.array([3, 9]))[0].tolist() == want[:5]
    some = np.array([4, 8, 20, 33])
    assert sorted(facility_location(DenseSimilarity(s), 4, candidates=some)[0].tolist()) == some.tolist()


def test_all_neighbours_give_the_dense_picks_and_lose_nothing() -> None:
    x = structured(300, 20)
    sparse = knn_similarity(x, 300)
    assert sparse.lost == pytest.approx(0, abs=1e-6)
    dense = DenseSimilarity(PairSimilarity(x))
    assert facility_location(sparse, 30)[0].tolist() == facility_location(dense, 30)[0].tolist()


def test_few_neighbours_equal_plain_greedy_on_the_truncated_matrix_and_tell_the_loss() -> None:
    x = structured(300, 20)
    s = PairSimilarity(x).rows(slice(0, 300)).copy()
    keep = np.argsort(-s, axis=1)[:, :25]
    truncated = np.zeros_like(s)
    np.put_along_axis(truncated, keep, np.take_along_axis(s, keep, axis=1), axis=1)
    sparse = knn_similarity(x, 25)
    assert sparse.lost == pytest.approx(1 - truncated.sum() / s.sum(), rel=1e-3)
    assert facility_location(sparse, 30)[0].tolist() == plain_facility_location(truncated.T, 30)[0]


def test_a_sparse_similarity_covers_who_lists_it() -> None:
    sparse = SparseSimilarity(np.array([[1], [1], [0]]), np.array([[0.5], [1.0], [0.25]]))
    assert sparse.gains(np.array([2, 1, 0]), np.array([0.0, 0.25, 0.0])).tolist() == [0, 0.5 + 0.75, 0.25]


def test_too_many_rows_for_all_pairs_name_the_way_out() -> None:
    with pytest.raises(InputError, match="knn_similarity"):
        DenseSimilarity(PairSimilarity(np.zeros((submodular.DENSE_LIMIT + 1, 1))))


def test_lazy_greedy_computes_far_fewer_gains_than_plain_greedy() -> None:
    s = PairSimilarity(structured(500, 20), "rbf").rows(slice(0, 500))
    covered, asked = np.zeros(500), 0

    def gains(pos: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += len(pos)
        return np.maximum(s[pos] - covered, 0).sum(axis=1, dtype=np.float64)

    def take(pos: int) -> None:
        np.maximum(covered, s[pos], out=covered)

    picks, _ = lazy_greedy(np.full(500, np.inf), gains, take, 50)
    assert picks.tolist() == plain_facility_location(s, 50)[0]
    assert asked < 0.4 * 50 * 500


@pytest.mark.parametrize("make", [structured, isotropic])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_windowed_dpp_picks_like_cholesky_greedy(make: object, dtype: type) -> None:
    x = make(3000, 80).astype(dtype)  # type: ignore[operator]
    got = greedy_k_dpp(x, np.arange(3000), 60)
    want, values = cholesky_greedy(x, 60)
    assert got.indices.tolist() == want
    np.testing.assert_allclose(got.residual, values, rtol=1e-8)
    assert not got.exhausted


def test_the_residuals_multiply_to_the_determinant() -> None:
    x = isotropic(500, 30)
    got = greedy_k_dpp(x, np.arange(100, 500), 20)
    assert got.indices.min() >= 100
    gram = x[got.indices].astype(np.float64) @ x[got.indices].astype(np.float64).T
    assert np.log(got.residual).sum() == pytest.approx(np.linalg.slogdet(gram)[1], rel=1e-9)


def test_quality_scales_the_rows() -> None:
    x = isotropic(400, 30)
    quality = np.random.default_rng(0).uniform(0.1, 3, 400)
    got = greedy_k_dpp(x, np.arange(400), 15, quality=quality)
    assert got.indices.tolist() == cholesky_greedy(x * quality[:, None], 15)[0]


def test_an_exhausted_rank_ends_the_batch_and_says_so() -> None:
    r = np.random.default_rng(0)
    x = r.normal(size=(300, 5)) @ r.normal(size=(5, 40))
    got = greedy_k_dpp(x, np.arange(300), 20)
    assert len(got.indices) == 5
    assert got.exhausted
    assert len(greedy_k_dpp(isotropic(50, 6), np.arange(50), 20).indices) == 6  # never more than D
    assert len(greedy_k_dpp(np.zeros((50, 6)), np.arange(50), 20).indices) == 0
    for small, picked in ((0.9e-3, 1), (1.1e-3, 2)):  # squared: just below and above the tolerated share
        assert len(greedy_k_dpp(np.array([[1, 0], [1, small]]), np.arange(2), 2).indices) == picked


def test_copies_go_to_the_lowest_index_and_are_taken_once() -> None:
    x = np.tile(np.diag([3.0, 2.0, 1.0]), (400, 1))  # rows 0, 3, 6, ... are equal
    got = greedy_k_dpp(x, np.arange(1, 1200), 3)
    assert got.indices.tolist() == [3, 1, 2]
    assert got.residual.tolist() == [9, 4, 1]


@pytest.mark.parametrize("make", [structured, isotropic])
def test_of_many_scattered_copies_the_lowest_index_is_taken(make: object) -> None:
    """Copies are read in windows of rows that were last looked at at different times."""
    distinct = make(700, 40)
    copies = np.random.default_rng(1).permutation(np.repeat(np.arange(700), 3))
    first = [int(np.flatnonzero(copies == item)[0]) for item in range(700)]
    got = greedy_k_dpp(distinct[copies], np.arange(2100), 35)
    assert got.indices.tolist() == [first[item] for item in cholesky_greedy(distinct, 35)[0]]


@pytest.mark.scale
@pytest.mark.parametrize("data", ["structured", "isotropic"])
def test_windowed_dpp_is_five_times_faster_than_cholesky_greedy(data: str) -> None:
    """20,000 x 512, 300 picks in the same order; in a process of its own with one thread, as both were measured."""
    record = in_child("case", f"dpp-20k-{data}", "--repeats", "3")
    assert record["status"] == "ok", record["text"]
    assert record["ratio"] >= 5


@pytest.mark.scale
def test_facility_location_of_2000_rows_takes_a_quarter_second() -> None:
    x = structured(2000, 512)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        got, _ = facility_location(DenseSimilarity(PairSimilarity(x)), 100)
        seconds.append(time.process_time() - start)
    assert got.tolist() == plain_facility_location(PairSimilarity(x).rows(slice(0, 2000)), 100)[0]
    assert min(seconds) <= 0.25  # a tenth of apricot's 2.5 s of CPU time (scalable selection, section 14)
