"""Facts particular to BAIT, against inverses computed afresh for every candidate."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import OptionError
from poolwise.kernels import fisher

RNG = np.random.default_rng(0)


def brute(factors: np.ndarray, start: np.ndarray, needed: np.ndarray, count: int, forward: int) -> list[int]:
    """Algorithm 1 with an inverse for every candidate: factors (n, r, P)."""
    info = [v.T @ v for v in factors]

    def trace(chosen: list[int]) -> float:
        return float(np.trace(np.linalg.inv(start + sum((info[i] for i in chosen), np.zeros_like(start))) @ needed))

    chosen: list[int] = []
    for _ in range(forward):
        chosen.append(min((i for i in range(len(info)) if i not in chosen), key=lambda i: trace([*chosen, i])))
    while len(chosen) > count:
        chosen.remove(min(chosen, key=lambda i: trace([j for j in chosen if j != i])))
    return chosen


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rank", [1, 3])
def test_greedy_choice_equals_brute_force(seed: int, rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(25, rank, 5))
    needed = np.cov(rng.normal(size=(5, 40)))
    expected = brute(factors, np.eye(5), needed, 6, 12)
    if rank == 1:
        got, falls = fisher.greedy_rank_one(factors[:, 0], np.eye(5), needed, 6, 12)
        monkeypatch.setattr(fisher, "REFRESH", 4)
        assert fisher.greedy_rank_one(factors[:, 0], np.eye(5), needed, 6, 12)[0].tolist() == got.tolist()
    else:
        got, falls = fisher.greedy_rank_many(factors, np.eye(5), needed, 6, 12)
    assert got.tolist() == expected
    assert (falls > 0).all()


def test_both_forms_agree_where_the_information_has_rank_one() -> None:
    v, needed = RNG.normal(size=(30, 4)), np.eye(4)
    one, falls = fisher.greedy_rank_one(v, np.eye(4), needed, 5, 10)
    many, same = fisher.greedy_rank_many(v[:, None], np.eye(4), needed, 5, 10)
    assert one.tolist() == many.tolist()
    np.testing.assert_allclose(falls, same)


def test_strategy_builds_the_factors_of_the_paper() -> None:
    x, p = RNG.normal(size=(20, 3)), RNG.dirichlet(np.ones(3), size=20)
    labeled, free = np.array([0, 1, 2]), np.arange(3, 20)
    h = x / np.sqrt((x**2).sum(axis=1).mean())
    for form in ("binary", "full"):
        factors = []
        for hi, pi in zip(h, p, strict=True):
            if form == "binary":
                factors.append([np.sqrt(pi.max() * (1 - pi.max())) * hi])
            else:
                factors.append([np.sqrt(pi[c]) * np.kron(np.eye(3)[c] - pi, hi) for c in range(3)])
        stack = np.array(factors)
        info = np.einsum("nrp,nrq->npq", stack, stack)
        start = np.eye(stack.shape[2]) + 3 / 7 * info[labeled].mean(axis=0)
        expected = brute(stack[free] * np.sqrt(4 / 7), start, info.mean(axis=0), 4, 8)
        batch = pw.select("bait", embeddings=x, probs=p, labeled=labeled, batch_size=4, form=form)
        assert batch.indices.tolist() == free[expected].tolist()


def test_a_copy_of_a_pick_is_worth_less_and_scale_does_not_matter() -> None:
    x, p = RNG.normal(size=(40, 4)), RNG.dirichlet(np.ones(3), size=40)
    x[1], p[1] = x[0] * 1.0, p[0]
    first = pw.select("bait", embeddings=x, probs=p, batch_size=5)
    assert first.indices.tolist() == pw.select("bait", embeddings=100 * x, probs=p, batch_size=5).indices.tolist()
    state = fisher._RankOne(x, np.eye(4), np.eye(4))
    before = state.b[1] / (1 + state.a[1])
    state.change(0, 1)
    assert state.b[1] / (1 + state.a[1]) < before


def test_exact_forms_refuse_what_is_too_large() -> None:
    x, p = RNG.normal(size=(50, 300)), RNG.dirichlet(np.ones(40), size=50)
    with pytest.raises(OptionError, match="C D = 12000"):
        pw.select("bait", embeddings=x, probs=p, batch_size=2, form="full")


def test_error_falls_with_every_pick_and_what_is_taken_back_stays_out() -> None:
    v, needed = RNG.normal(size=(40, 4)), np.cov(RNG.normal(size=(4, 30)))
    forward, falls = fisher.greedy_rank_one(v, np.eye(4), needed, 16, 16)
    trace = [np.trace(needed)]
    for k in range(1, 17):
        trace.append(np.trace(np.linalg.inv(np.eye(4) + v[forward[:k]].T @ v[forward[:k]]) @ needed))
    assert (np.diff(trace) < 0).all()
    np.testing.assert_allclose(falls, -np.diff(trace), rtol=1e-9)
    kept, _ = fisher.greedy_rank_one(v, np.eye(4), needed, 8, 16)
    assert len(set(kept.tolist())) == 8
    assert [i for i in forward.tolist() if i in kept] == kept.tolist()
