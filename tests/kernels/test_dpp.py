"""Facts about fixed-size determinantal processes, against sums over all subsets."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest

from poolwise.errors import InputError
from poolwise.kernels import implicit
from poolwise.kernels.dpp import (
    KernelVectors,
    LargestResidual,
    condition_on,
    k_dpp,
    log_elementary,
    low_rank_k_dpp,
)
from poolwise.kernels.implicit import pick_lazily

N, K = 8, 3


def factor(seed: int, n: int = N, r: int = N) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, r)) / np.sqrt(r)


def law(kernel: np.ndarray, size: int) -> dict[tuple[int, ...], float]:
    weights = {s: float(np.linalg.det(kernel[np.ix_(s, s)])) for s in combinations(range(len(kernel)), size)}
    total = sum(weights.values())
    return {s: w / total for s, w in weights.items()}


def marginals(kernel: np.ndarray, size: int) -> np.ndarray:
    out = np.zeros(len(kernel))
    for subset, p in law(kernel, size).items():
        out[list(subset)] += p
    return out


def test_elementary_polynomials_are_sums_over_subsets() -> None:
    values = np.array([0.5, 2.0, 3.0, 0.1])
    table = np.exp(log_elementary(np.log(values), 3))
    for n in range(5):
        for size in range(4):
            expected = sum(np.prod(values[list(s)]) for s in combinations(range(n), size))
            assert table[n, size] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("rank", [4, 8])
def test_marginals_and_normaliser_are_those_of_all_subsets(rank: int) -> None:
    b = factor(0, r=rank)
    kernel = b @ b.T
    for process in (k_dpp(kernel, K), low_rank_k_dpp(b, K)):
        assert process.marginals() == pytest.approx(marginals(kernel, K), abs=1e-10)
        assert process.marginals().sum() == pytest.approx(K)
        total = sum(np.linalg.det(kernel[np.ix_(s, s)]) for s in combinations(range(N), K))
        assert process.log_normaliser == pytest.approx(np.log(total), abs=1e-9)


@pytest.mark.parametrize("rank", [3, 8])
def test_samples_follow_the_law(rank: int) -> None:
    b = factor(1, r=rank)
    process, rng = low_rank_k_dpp(b, K), np.random.default_rng(0)
    drawn = [tuple(sorted(process.sample(rng).tolist())) for _ in range(20_000)]
    expected = law(b @ b.T, K)
    assert all(len(set(s)) == K for s in drawn)
    for subset, p in expected.items():
        seen = drawn.count(subset) / len(drawn)
        assert abs(seen - p) < 5 * np.sqrt(p * (1 - p) / len(drawn)) + 1e-4


def test_one_item_is_drawn_by_its_diagonal_entry() -> None:
    b = factor(2)
    diagonal = np.square(b).sum(axis=1)
    assert k_dpp(b @ b.T, 1).marginals() == pytest.approx(diagonal / diagonal.sum())


def test_scale_has_no_effect_and_permuting_permutes() -> None:
    b = factor(3)
    expected = k_dpp(b @ b.T, K).marginals()
    order = np.random.default_rng(0).permutation(N)
    assert k_dpp(1e6 * b @ b.T, K).marginals() == pytest.approx(expected)
    assert k_dpp((b @ b.T)[np.ix_(order, order)], K).marginals() == pytest.approx(expected[order])


def test_copies_are_never_drawn_together() -> None:
    b = factor(4)
    b[1] = b[0]
    process, rng = low_rank_k_dpp(b, K), np.random.default_rng(0)
    assert not any({0, 1} <= set(process.sample(rng).tolist()) for _ in range(2000))


def test_conditioning_gives_the_law_of_sets_that_hold_the_item() -> None:
    b = factor(5)
    given = {s: p for s, p in law(b @ b.T, K).items() if 2 in s}
    total = sum(given.values())
    conditioned = condition_on(b, 2)
    rest = law(conditioned @ conditioned.T, K - 1)
    for subset, p in rest.items():
        expected = given.get(tuple(sorted((*subset, 2))), 0.0) / total if 2 not in subset else 0.0
        assert p == pytest.approx(expected, abs=1e-10)


def test_refuses_more_items_than_the_rank() -> None:
    b = factor(6, r=2)
    with pytest.raises(InputError, match="rank 2"):
        low_rank_k_dpp(b, 3)
    with pytest.raises(InputError, match="rank 2"):
        k_dpp(b @ b.T, 3)


def test_refuses_kernels_that_are_none() -> None:
    with pytest.raises(InputError, match="semi-definite"):
        k_dpp(np.array([[1.0, 2.0], [2.0, 1.0]]), 1)
    with pytest.raises(InputError, match="symmetric"):
        k_dpp(np.array([[1.0, 0.5], [0.0, 1.0]]), 1)
    with pytest.raises(InputError, match="finite"):
        k_dpp(np.array([[np.nan]]), 1)


def test_large_sets_do_not_underflow() -> None:
    b = 1e-3 * factor(7, n=300, r=200)
    process = low_rank_k_dpp(b, 150)
    assert np.isfinite(process.log_normaliser)
    assert process.marginals().sum() == pytest.approx(150, rel=1e-6)
    assert len(set(process.sample(np.random.default_rng(0)).tolist())) == 150


def dense(x: np.ndarray, q: np.ndarray, gamma: float | None) -> np.ndarray:
    k = x @ x.T if gamma is None else np.exp(-gamma * np.square(x[:, None] - x[None]).sum(axis=2))
    return np.asarray(q[:, None] * k * q)


def greedy(kernel: np.ndarray, count: int) -> tuple[list[int], list[float]]:
    """Add the item that gives the largest log-determinant, from scratch every time."""
    chosen: list[int] = []
    values: list[float] = []
    for _ in range(count):
        options = {
            i: float(np.linalg.slogdet(kernel[np.ix_([*chosen, i], [*chosen, i])])[1])
            for i in range(len(kernel))
            if i not in chosen
        }
        best = max(options, key=lambda i: options[i])
        chosen.append(best)
        values.append(options[best])
    return chosen, values


@pytest.mark.parametrize("gamma", [None, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_greedy_adds_what_raises_the_determinant_most(seed: int, gamma: float | None, monkeypatch) -> None:
    monkeypatch.setattr(implicit, "ACTIVE_BYTES", 0)
    rng = np.random.default_rng(seed)
    x, q = rng.normal(size=(60, 4)), rng.uniform(0.5, 1, 60)
    kernel = dense(x, q, gamma) + 1e-6 * np.eye(60)
    vectors = KernelVectors(x, np.arange(60), q, gamma, 10)
    rule = LargestResidual(10, 1e-6)
    upper = np.diag(kernel) * (1 + 1e-9)
    picks, gains = pick_lazily(vectors, rule, upper, 10)
    expected, log_det = greedy(kernel, 10)
    assert picks.tolist() == expected
    assert np.cumsum(np.log(rule.residuals)) == pytest.approx(log_det, abs=1e-8)
    assert np.all(np.diff(gains) <= 1e-12)


def test_greedy_is_no_better_than_the_best_of_all_sets() -> None:
    x = np.random.default_rng(9).normal(size=(14, 6))
    kernel = dense(x, np.ones(14), 0.2)
    _, log_det = greedy(kernel, 4)
    picks, gains = pick_lazily(
        KernelVectors(x, np.arange(14), np.ones(14), 0.2, 4), LargestResidual(4), np.full(14, 1.1), 4
    )
    best = max(float(np.linalg.slogdet(kernel[np.ix_(s, s)])[1]) for s in combinations(range(14), 4))
    assert comb(14, 4) == 1001 and len(set(picks.tolist())) == 4
    assert np.log(gains).sum() == pytest.approx(log_det[-1])
    assert log_det[-1] <= best + 1e-12


def test_beyond_the_rank_residuals_are_none_and_the_lowest_positions_follow() -> None:
    x = np.random.default_rng(0).normal(size=(20, 2))
    rule = LargestResidual(6)
    picks, gains = pick_lazily(
        KernelVectors(x, np.arange(20), np.ones(20), None, 6), rule, np.square(x).sum(axis=1) * 1.01, 6
    )
    assert rule.exhausted_at == 2 and gains[2:] == pytest.approx(0, abs=1e-9)
    assert len(set(picks.tolist())) == 6


@pytest.mark.parametrize(("rank", "size"), [(8, 3), (5, 3), (4, 4), (8, 1), (8, 2)])
def test_probabilities_of_sets_and_of_pairs_are_those_of_all_subsets(rank: int, size: int) -> None:
    b = factor(10, r=rank)
    process = low_rank_k_dpp(b, size)
    pairs = np.zeros((N, N))
    for subset, p in law(b @ b.T, size).items():
        assert np.exp(process.log_probability(np.array(subset))) == pytest.approx(p, abs=1e-10)
        pairs[np.ix_(subset, subset)] += p
    assert process.pair_marginals() == pytest.approx(pairs, abs=1e-10)
    assert process.pair_marginals().sum(axis=1) == pytest.approx(size * process.marginals(), abs=1e-9)


def test_sampled_marginals_of_20000_draws_are_within_three_standard_errors() -> None:
    b = factor(11)
    process, rng = k_dpp(b @ b.T, K), np.random.default_rng(1)
    seen = np.bincount(np.concatenate([process.sample(rng) for _ in range(20_000)]), minlength=N) / 20_000
    assert np.abs(seen - marginals(b @ b.T, K)).max() < 0.011
