"""Facts particular to ActiveFT."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import OptionError
from poolwise.strategies import activeft as module
from poolwise.strategies.activeft import Loss, nearest_unused


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def slow_loss(x: np.ndarray, moving: np.ndarray, still: np.ndarray, tau: float, beta: float) -> float:
    """The loss written as in the paper; `still` are the vectors through which nothing flows (v_c in v_l.v_c)."""
    total = 0.0
    for f in x:
        c = int(np.argmax([f @ v for v in moving]))
        attract = np.exp(f @ moving[c] / tau)
        repel = sum(np.exp(moving[other] @ still[c] / tau) for other in range(len(moving)))
        total -= np.log(attract / (attract + beta * repel))
    return total / len(x)


@pytest.mark.parametrize("seed", range(3))
def test_loss_and_slope_are_those_of_the_paper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, vectors = unit(rng.normal(size=(40, 5))), unit(rng.normal(size=(7, 5)))
    tau, beta = 0.2, 0.7
    loss, slope = Loss(vectors[5:], tau, beta).value_and_slope(x, vectors[:5])  # the last two vectors do not move
    assert loss == pytest.approx(slow_loss(x, vectors, vectors, tau, beta))
    for row in range(5):
        along = rng.normal(size=5)
        along -= (along @ vectors[row]) * vectors[row]  # a direction on the sphere
        plus, minus = vectors.copy(), vectors.copy()
        plus[row], minus[row] = vectors[row] + 1e-5 * along, vectors[row] - 1e-5 * along
        expected = (slow_loss(x, plus, vectors, tau, beta) - slow_loss(x, minus, vectors, tau, beta)) / 2e-5
        assert slope[row] @ along == pytest.approx(expected, rel=1e-5, abs=1e-8)
    assert np.abs(np.einsum("ij,ij->i", slope, vectors[:5])).max() < 1e-12


def test_loss_does_not_depend_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, vectors = unit(rng.normal(size=(50, 4))), unit(rng.normal(size=(11, 4)))
    loss, slope = Loss(vectors[8:], 0.1, 1.0).value_and_slope(x, vectors[:8])
    monkeypatch.setattr(module, "NUMBERS", 33)
    monkeypatch.setattr(module, "KEPT_NUMBERS", 0)
    small_loss, small_slope = Loss(vectors[8:], 0.1, 1.0).value_and_slope(x, vectors[:8])
    assert small_loss == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(small_slope, slope, rtol=1e-9, atol=1e-12)


def slow_nearest_unused(x: np.ndarray, indices: list[int], vectors: np.ndarray) -> list[int]:
    left, out = sorted(indices), []
    for v in vectors:
        products = [float(x[i] @ v) for i in left]
        best = max(products)
        out.append(next(i for i, p in zip(left, products, strict=True) if p >= best - 1e-12))
        left.remove(out[-1])
    return out


@pytest.mark.parametrize("copies", [1, 40])
def test_each_vector_gets_the_nearest_row_that_is_left(copies: int) -> None:
    """With many equal rows and equal vectors, short lists are used up and have to be filled again."""
    rng = np.random.default_rng(1)
    x = np.repeat(unit(rng.normal(size=(400 // copies, 3))), copies, axis=0)
    vectors = unit(np.repeat(rng.normal(size=(4, 3)), 20, axis=0))
    indices = np.flatnonzero(rng.random(len(x)) < 0.7)
    got, products = nearest_unused(x, indices, vectors)
    assert got.tolist() == slow_nearest_unused(x, indices.tolist(), vectors)
    np.testing.assert_allclose(products, np.einsum("ij,ij->i", x[got], vectors), rtol=1e-12)


def slow_activeft(x: np.ndarray, start: np.ndarray, steps: int, rate: float, tau: float) -> list[int]:
    """Adam on the loss with slopes by finite differences along the sphere."""
    v = x[start].copy()
    mean, square = np.zeros_like(v), np.zeros_like(v)
    for t in range(1, steps + 1):
        slope = np.zeros_like(v)
        for at in np.ndindex(*v.shape):
            plus, minus = v.copy(), v.copy()
            plus[at] += 1e-6
            minus[at] -= 1e-6
            slope[at] = (slow_loss(x, plus, v, tau, 1.0) - slow_loss(x, minus, v, tau, 1.0)) / 2e-6
        slope -= (slope * v).sum(axis=1, keepdims=True) * v
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        v = unit(v - rate * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8))
    return slow_nearest_unused(x, list(range(len(x))), v)


def test_matches_a_slow_version_with_numerical_slopes() -> None:
    x = np.random.default_rng(2).normal(size=(40, 3))
    batch = pw.select("activeft", embeddings=x, batch_size=4, seed=3, steps=8, rate=0.05)
    first = pw.select("activeft", embeddings=x, batch_size=4, seed=3, steps=0)
    assert batch.indices.tolist() == slow_activeft(unit(x), first.indices, 8, 0.05, 0.07)
    assert batch.indices.tolist() != first.indices.tolist()


def test_loss_falls_and_counts_follow_the_mass_of_components() -> None:
    """The card's check: counts per component within 20 % of its mass (here 50, 30 and 20 % of 100 picks)."""
    rng = np.random.default_rng(4)
    of = np.repeat([0, 1, 2], [1500, 900, 600])
    middle = 4 * unit(rng.normal(size=(3, 16)))
    x = middle[of] + rng.normal(size=(3000, 16))
    batch = pw.select("activeft", embeddings=x, batch_size=100, seed=0)
    assert batch.notes["loss_after"] < batch.notes["loss_before"]
    assert len(set(batch.indices.tolist())) == 100
    counts = np.bincount(of[batch.indices], minlength=3)
    assert (np.abs(counts - [50, 30, 20]) <= 0.2 * np.array([50, 30, 20])).all(), counts


def test_picks_cover_the_pool_better_than_random_ones() -> None:
    rng = np.random.default_rng(5)
    x = unit(np.repeat(rng.normal(size=(30, 8)), 40, axis=0) + 0.3 * rng.normal(size=(1200, 8)))
    covered = {
        name: np.mean(
            [
                (x @ x[pw.select(name, embeddings=x, batch_size=30, seed=seed).indices].T).max(axis=1).mean()
                for seed in range(5)
            ]
        )
        for name in ("activeft", "random")
    }
    assert covered["activeft"] > covered["random"] + 0.01


def test_labeled_items_keep_the_vectors_away() -> None:
    """With 60 labeled items spread over a sphere, picks lie farther from the nearest of them than without."""
    x = unit(np.random.default_rng(6).normal(size=(2000, 3)))
    labeled, free = np.arange(60), np.arange(60, 2000)
    cold = pw.select("activeft", embeddings=x, batch_size=60, unlabeled=free)
    warm = pw.select("activeft", embeddings=x, batch_size=60, labeled=labeled)
    away = [np.arccos((x[batch.indices] @ x[labeled].T).max(axis=1)).mean() for batch in (warm, cold)]
    assert away[0] > 1.1 * away[1]


def test_options_out_of_range_are_named() -> None:
    for option in ({"temperature": 0.0}, {"rate": 0.0}, {"steps": -1}, {"balance": -1.0}):
        with pytest.raises(OptionError, match="activeft"):
            pw.select("activeft", embeddings=np.eye(5), batch_size=2, **option)
