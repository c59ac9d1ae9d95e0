"""Facts particular to noise stability; the contract every strategy obeys is in test_contract.py."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import InputError, OptionError
from poolwise.kernels import blocks, implicit
from poolwise.kernels.deviations import ExactMovements, SampledMovements, draw_noise
from poolwise.kernels.implicit import FarthestFirst, pick_lazily

N, D, C = 60, 5, 4


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def head(seed: int, n: int = N, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, D)), scale * rng.normal(size=(C, D))


def jacobians(h: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Derivative of each row's probabilities by every weight, over the length of the probabilities: (n, C, C D)."""
    out = np.empty((len(h), C, C * D))
    for i, row in enumerate(h):
        p = softmax(weight @ row)
        a = np.diag(p) - np.outer(p, p)
        out[i] = np.einsum("cd,e->cde", a, row).reshape(C, C * D) / np.linalg.norm(p)
    return out


def farthest_first(vectors: np.ndarray, count: int) -> list[int]:
    chosen: list[int] = []
    for _ in range(count):
        gaps = [
            -1.0 if i in chosen else min([float(v @ v), *(float((v - vectors[j]) @ (v - vectors[j])) for j in chosen)])
            for i, v in enumerate(vectors)
        ]
        chosen.append(int(np.argmax(gaps)))
    return chosen


@pytest.mark.parametrize("seed", range(4))
def test_the_limit_picks_like_farthest_first_on_whole_jacobians(seed: int) -> None:
    h, weight = head(seed)
    got = pw.select("noise_stability", embeddings=h, head_weight=weight, batch_size=20)
    assert got.indices.tolist() == farthest_first(jacobians(h, weight).reshape(N, -1), 20)


def test_the_closed_form_is_the_gram_matrix_of_the_jacobians() -> None:
    h, weight = head(1, scale=3.0)
    flat = jacobians(h, weight).reshape(N, -1)
    radius = 1e-3 * np.linalg.norm(weight)
    points = ExactMovements(h, softmax(h @ weight.T), np.arange(N), radius).take(np.arange(N))
    expected = flat @ flat.T * radius**2 / (C * D)
    assert points.inner(points) == pytest.approx(expected, rel=1e-9, abs=1e-12 * expected.max())
    assert points.sq == pytest.approx(np.diag(expected), rel=1e-10)


def test_certain_rows_keep_their_digits() -> None:
    """Two classes with p = (1 - e, e): tr(A^2) = 4 e^2 (1 - e)^2, far below the rounding of 1."""
    e = 1e-12
    p = np.array([[1 - e, e], [1 - e, e]])
    points = ExactMovements(np.ones((2, 1)), p, np.arange(2), 1.0).take(np.arange(2))
    assert points.sq * 2 == pytest.approx(4 * e**2, rel=1e-4)
    assert points.inner(points) * 2 == pytest.approx(np.full((2, 2), 4 * e**2), rel=1e-4)


def test_the_limit_is_that_of_many_sampled_perturbations() -> None:
    h, weight = head(2, n=20)
    p = softmax(h @ weight.T)
    noise = draw_noise(weight, 1e-3, 20_000, np.random.default_rng(0))
    sampled = SampledMovements(h, p, np.arange(20), noise).take(np.arange(20))
    exact = ExactMovements(h, p, np.arange(20), 1e-3 * np.linalg.norm(weight)).take(np.arange(20))
    off = sampled.inner(sampled) - exact.inner(exact)
    assert np.linalg.norm(off) < 0.02 * np.linalg.norm(exact.inner(exact))


@pytest.mark.parametrize("antithetic", [False, True])
def test_sampled_movements_are_differences_of_outputs(antithetic: bool) -> None:
    h, weight = head(3)
    noise = draw_noise(weight, 1e-2, 6, np.random.default_rng(1))
    p = softmax(h @ weight.T)
    got = SampledMovements(h, p, np.arange(N), noise, antithetic=antithetic).take(np.arange(N)).x.reshape(N, 6, C)
    for k in range(6):
        moved = softmax(h @ (weight + noise[k]).T) - p
        if antithetic:
            moved = (softmax(h @ (weight + noise[k]).T) - softmax(h @ (weight - noise[k]).T)) / 2
        expected = moved / np.linalg.norm(p, axis=1, keepdims=True) / np.sqrt(6)
        assert got[:, k] == pytest.approx(expected, rel=1e-7, abs=1e-15)


def test_noise_has_exactly_the_relative_length() -> None:
    _, weight = head(4)
    noise = draw_noise(weight, 1e-3, 9, np.random.default_rng(0))
    lengths = np.sqrt(np.square(noise).sum(axis=(1, 2)))
    assert lengths == pytest.approx(1e-3 * np.linalg.norm(weight), rel=1e-12)


def test_movements_grow_in_proportion_to_small_noise() -> None:
    h, weight = head(5)
    p = softmax(h @ weight.T)
    small, large = (
        SampledMovements(h, p, np.arange(N), draw_noise(weight, z, 8, np.random.default_rng(0))).take(np.arange(N)).sq
        for z in (1e-4, 1e-3)
    )
    assert np.sqrt(large / small) == pytest.approx(10, rel=0.01)


def test_logits_move_as_far_as_the_theory_of_a_linear_map_says() -> None:
    """Mean |E h|^2 = zeta^2 |W|^2 |h|^2 / D, before the division by the output's length."""
    h, weight = head(6, n=5)
    z = h @ weight.T
    noise = draw_noise(weight, 1e-3, 40_000, np.random.default_rng(0))
    sampled = SampledMovements(h, z, np.arange(5), noise, "logits").take(np.arange(5)).sq
    exact = ExactMovements(h, z, np.arange(5), 1e-3 * np.linalg.norm(weight), "logits").take(np.arange(5)).sq
    theory = 1e-6 * np.square(weight).sum() * np.square(h).sum(axis=1) / D / np.square(z).sum(axis=1)
    assert exact == pytest.approx(theory, rel=1e-12)
    assert sampled == pytest.approx(theory, rel=0.03)


def test_first_pick_moves_most_and_distances_never_grow() -> None:
    h, weight = head(7)
    got = pw.select("noise_stability", embeddings=h, head_weight=weight, batch_size=30)
    lengths = np.linalg.norm(jacobians(h, weight).reshape(N, -1), axis=1)
    assert got.indices[0] == lengths.argmax()
    assert got.scores is not None and np.all(np.diff(got.scores) <= 1e-9)


def test_covers_within_twice_the_best_radius() -> None:
    h, weight = head(8, n=12)
    vectors = jacobians(h, weight).reshape(12, -1)
    batch = pw.select("noise_stability", embeddings=h, head_weight=weight, batch_size=3).indices

    def radius(centres: np.ndarray) -> float:
        points = np.vstack([np.zeros_like(vectors[:1]), vectors[centres]])
        return float(max(np.linalg.norm(points - v, axis=1).min() for v in vectors))

    best = min(radius(np.array(subset)) for subset in combinations(range(12), 3))
    assert radius(batch) <= 2 * best


@pytest.mark.parametrize("perturbations", [None, 5])
def test_few_active_rows_give_the_same_picks(perturbations: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    h, weight = head(9, n=2000)
    options = {"embeddings": h, "head_weight": weight, "batch_size": 300, "perturbations": perturbations}
    expected = pw.select("noise_stability", **options).indices.tolist()
    monkeypatch.setattr(implicit, "ACTIVE_BYTES", 0)
    monkeypatch.setattr(implicit, "CHUNK", 100)
    assert pw.select("noise_stability", **options).indices.tolist() == expected


def test_copies_come_last_by_pool_index() -> None:
    h, weight = head(10, n=6)
    got = pw.select("noise_stability", embeddings=np.tile(h, (4, 1)), head_weight=weight, batch_size=24).indices
    assert sorted(got[:6] % 6) == list(range(6)) and got[:6].max() < 6
    assert got[6:].tolist() == list(range(6, 24))


def test_saturated_rows_move_less() -> None:
    p = np.vstack([np.full((1, C), 1 / C), [[0.97, 0.01, 0.01, 0.01]]])
    points = ExactMovements(np.ones((2, D)), p, np.arange(2), 1.0).take(np.arange(2))
    assert points.sq[1] < points.sq[0] / 10


@pytest.mark.parametrize("options", [{"perturbations": 0}, {"zeta": 0.0}])
def test_refuses_to_perturb_nothing(options: dict[str, float]) -> None:
    h, weight = head(0)
    with pytest.raises(OptionError, match=next(iter(options))):
        pw.select("noise_stability", embeddings=h, head_weight=weight, batch_size=2, **options)


def test_permuting_the_pool_permutes_the_picks() -> None:
    h, weight = head(12)
    order = np.random.default_rng(0).permutation(N)
    expected = pw.select("noise_stability", embeddings=h, head_weight=weight, batch_size=12).indices
    got = pw.select("noise_stability", embeddings=h[order], head_weight=weight, batch_size=12).indices
    assert order[got].tolist() == expected.tolist()


def test_labeled_items_count_as_taken_only_when_asked() -> None:
    h, weight = head(13)
    first = pw.select("noise_stability", embeddings=h, head_weight=weight, batch_size=1).indices[0]
    copy = np.vstack([h, h[first]])
    arguments = {"embeddings": copy, "head_weight": weight, "labels": np.r_[np.full(N, -1), 0], "batch_size": N - 1}
    assert pw.select("noise_stability", **arguments).indices[0] == first
    conditioned = pw.select("noise_stability", **arguments, condition_on_labeled=True)
    assert first not in conditioned.indices


def test_huge_noise_stays_finite_and_is_the_difference_of_outputs() -> None:
    h, weight = head(14)
    noise = draw_noise(weight, 1e3, 4, np.random.default_rng(0))
    p = softmax(h @ weight.T)
    got = SampledMovements(h, p, np.arange(N), noise).take(np.arange(N)).x.reshape(N, 4, C)
    expected = (softmax(h @ (weight + noise[2]).T) - p) / np.linalg.norm(p, axis=1, keepdims=True) / 2
    assert got[:, 2] == pytest.approx(expected, abs=1e-9)


def test_stored_noise_gives_the_movements_and_the_order_of_plain_loops() -> None:
    """40 items, D = 6, C = 5, K = 64: (softmax((W + E) h) - softmax(W h)) / |softmax(W h)|, joined over the 64."""
    rng = np.random.default_rng(20)
    h, weight = rng.normal(size=(40, 6)), rng.normal(size=(5, 6))
    noise = draw_noise(weight, 1e-3, 64, rng)
    p = softmax(h @ weight.T)
    vectors = SampledMovements(h, p, np.arange(40), noise)
    expected = np.empty((40, 64, 5))
    for i in range(40):
        for k in range(64):
            expected[i, k] = (softmax((weight + noise[k]) @ h[i]) - p[i]) / np.linalg.norm(p[i])
    np.testing.assert_allclose(vectors.movements(h, p), expected, rtol=0, atol=1e-9 * np.abs(expected).max() + 1e-15)
    order, _ = pick_lazily(vectors, FarthestFirst(), vectors.take(np.arange(40)).sq.copy(), 12)
    assert order.tolist() == farthest_first(expected.reshape(40, -1), 12)


def test_sampled_picks_do_not_depend_on_how_rows_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    h, weight = head(21)
    options = {"embeddings": h, "head_weight": weight, "batch_size": 15, "perturbations": 5, "seed": 3}
    expected = pw.select("noise_stability", **options).indices.tolist()
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4)
    monkeypatch.setattr(blocks, "MIN_BLOCK_ROWS", 7)
    assert pw.select("noise_stability", **options).indices.tolist() == expected
    sharded = {**options, "embeddings": blocks.ShardedRows([h[:9], h[9:10], h[10:]])}
    assert pw.select("noise_stability", **sharded).indices.tolist() == expected


@pytest.mark.parametrize("perturbations", [None, 3])
@pytest.mark.parametrize("output", ["probs", "logits"])
def test_weights_and_outputs_of_length_zero_move_nothing(perturbations: int | None, output: str) -> None:
    h, _ = head(22)
    got = pw.select(
        "noise_stability",
        embeddings=h,
        head_weight=np.zeros((C, D)),
        batch_size=4,
        perturbations=perturbations,
        output=output,
    )
    assert got.indices.tolist() == [0, 1, 2, 3] and not np.asarray(got.scores).any()


def test_weights_are_the_same_after_the_call() -> None:
    h, weight = head(23)
    before = weight.copy()
    pw.select("noise_stability", embeddings=h, head_weight=weight, batch_size=4, perturbations=3)
    assert np.array_equal(weight, before)


def test_outputs_that_are_not_finite_are_refused_with_the_row() -> None:
    h, weight = head(24)
    p = softmax(h @ weight.T)
    p[17, 1] = np.nan
    with pytest.raises(InputError, match="row 17"):
        pw.select("noise_stability", embeddings=h, head_weight=weight, probs=p, batch_size=4)
