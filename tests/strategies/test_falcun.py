"""Facts particular to FALCUN."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.strategies import falcun as module
from poolwise.strategies.falcun import _dense, _l1, _largest

RNG = np.random.default_rng(0)
P = RNG.dirichlet(np.ones(5), size=60)
WIDE = RNG.dirichlet(np.ones(40) * 0.1, size=60)


def greedy(p: np.ndarray, count: int) -> list[int]:
    """The limit of infinite gamma, written with loops."""
    doubt = [1 - (sorted(r)[-1] - sorted(r)[-2]) for r in p.tolist()]
    apart, chosen = list(doubt), []
    for _ in range(count):
        rest = [i for i in range(len(p)) if i not in chosen]
        low, high = min(apart[i] for i in rest), max(apart[i] for i in rest)
        chosen.append(max(rest, key=lambda i: doubt[i] + (apart[i] - low) / (high - low)))
        apart = [min(a, sum(abs(u - v) for u, v in zip(p[i], p[chosen[-1]], strict=True))) for i, a in enumerate(apart)]
    return chosen


def test_a_huge_gamma_is_greedy() -> None:
    batch = pw.select("falcun", probs=P.astype(np.float32), batch_size=8, gamma=400.0)
    assert batch.indices.tolist() == greedy(P.astype(np.float32).astype(np.float64), 8)


def test_gamma_0_draws_uniformly() -> None:
    firsts = [pw.select("falcun", probs=P[:4], batch_size=1, gamma=0.0, seed=s).indices[0] for s in range(600)]
    assert np.abs(np.bincount(firsts, minlength=4) / 600 - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 600)


def test_distances_on_the_largest_probabilities_equal_those_with_one_class_for_the_rest() -> None:
    names, values, rest = _largest(WIDE, np.arange(60), 6)
    for s in (0, 17):
        got = _l1(names, values, rest, _dense(names[s], values[s], 40), rest[s])
        for i in range(60):
            dense = np.zeros((2, 41))
            for row, item in enumerate((i, s)):
                top = np.argsort(-WIDE[item])[:6]
                dense[row, top] = WIDE[item, top]
                dense[row, 40] = 1 - dense[row].sum()
            assert got[i] == pytest.approx(np.abs(dense[0] - dense[1]).sum(), abs=1e-5)
    names, values, rest = _largest(WIDE, np.arange(60), 40)
    got = _l1(names, values, rest, _dense(names[3], values[3], 40), rest[3])
    np.testing.assert_allclose(got, np.abs(WIDE - WIDE[3]).sum(axis=1), atol=1e-5)


@pytest.mark.parametrize("classes", [40, 6])
def test_items_that_are_not_compared_would_change_nothing(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Confident predictions: most are not compared with a pick, and the batch is that of comparing all."""
    p = np.random.default_rng(1).dirichlet(np.full(40, 0.02), size=3000)
    compared: list[int] = []
    monkeypatch.setattr(module, "_l1", lambda names, *rest: (compared.append(len(names)), _l1(names, *rest))[1])
    few = pw.select("falcun", probs=p, batch_size=60, classes=classes)
    assert sum(compared) < 0.3 * 60 * 3000
    monkeypatch.setattr(module, "ROUNDING", 10.0)
    every = pw.select("falcun", probs=p, batch_size=60, classes=classes)
    assert sum(compared[60:]) == 60 * 3000
    assert few.indices.tolist() == every.indices.tolist()
    np.testing.assert_array_equal(few.scores, every.scores)
