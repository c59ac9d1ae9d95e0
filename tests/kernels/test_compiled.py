"""Compiled row scores have the bits of the NumPy forms, and see every row that those would doubt."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import poolwise as pw
import poolwise.kernels
from poolwise.errors import InputError
from poolwise.kernels import compiled, scores

pytest.importorskip("numba")

WIDTHS = [1, 2, 3, 15, 16, 17, 100, 300]


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], tuple[Any, Any]]:
    """Call something with the compiled forms and without them."""

    monkeypatch.setattr(compiled, "FEWEST", 1)

    def run(call: Callable[[], Any]) -> tuple[Any, Any]:
        assert compiled.load()
        fast = call()
        with monkeypatch.context() as patch:
            patch.setattr(compiled._State, "forms", None)
            patch.setattr(compiled._State, "missing", True)
            return fast, call()

    return run


def rows_of_probabilities(n_classes: int, n: int = 500) -> np.ndarray:
    rng = np.random.default_rng(n_classes)
    probs = rng.dirichlet(np.full(n_classes, 0.2), n)
    probs[::7] = np.eye(n_classes)[rng.integers(0, n_classes, len(probs[::7]))]
    probs[::9] = 1 / n_classes
    return probs.astype(np.float32)


def test_they_are_for_large_contiguous_float32_blocks_only() -> None:
    assert compiled.load()
    large = np.zeros((compiled.FEWEST // 2, 2), dtype=np.float32)
    assert compiled.forms(large) is not None
    for other in (large[:-1], large.astype(np.float64), np.asfortranarray(large)):
        assert compiled.forms(other) is None


def test_they_are_loaded_when_that_has_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled._State, "forms", None)
    monkeypatch.setattr(compiled._State, "handled", 0)
    block = np.zeros((compiled.FEWEST // 2, 2), dtype=np.float32)
    monkeypatch.setattr(compiled, "PAYS", 3 * block.size)
    assert [compiled.forms(block) is not None for _ in range(4)] == [False, False, True, True]


def test_without_numba_nothing_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("forms", None), ("missing", False)):
        monkeypatch.setattr(compiled._State, name, value)
    monkeypatch.setattr(compiled, "PAYS", 1)
    monkeypatch.delattr(poolwise.kernels, "jit", raising=False)
    monkeypatch.setitem(sys.modules, "poolwise.kernels.jit", None)  # its import fails
    assert compiled.forms(np.zeros((compiled.FEWEST, 1), dtype=np.float32)) is None
    assert not compiled.load()


def test_where_numba_cannot_keep_what_it_compiles_numpy_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("cannot cache function: no locator available")

    for name, value in (("forms", None), ("missing", False)):
        monkeypatch.setattr(compiled._State, name, value)
    monkeypatch.delattr(poolwise.kernels, "jit", raising=False)
    monkeypatch.delitem(sys.modules, "poolwise.kernels.jit", raising=False)
    monkeypatch.setitem(sys.modules, "numba", Refusing("numba"))
    assert not compiled.load()


@pytest.mark.parametrize("n_classes", WIDTHS)
def test_margins_have_the_same_bits(n_classes: int, both: Callable[..., tuple[Any, Any]]) -> None:
    probs = rows_of_probabilities(n_classes)
    probs.setflags(write=False)
    fast, plain = both(lambda: scores.judged_margin(probs))
    np.testing.assert_array_equal(fast, plain)
    np.testing.assert_array_equal(fast, scores.margin(probs))


@pytest.mark.parametrize("n_classes", WIDTHS[1:])
@pytest.mark.parametrize("place", [0, 250, 499])
def test_doubtful_rows_are_doubted(n_classes: int, place: int, both: Callable[..., tuple[Any, Any]]) -> None:
    clean = rows_of_probabilities(n_classes)
    for column in {0, n_classes // 2, n_classes - 1}:
        for value in (np.nan, np.inf, -np.inf, -1e-3, 2.0):
            broken = clean.copy()
            broken[place, column] = value
            if np.isfinite(value):
                broken[place, column - 1] += 1 - broken[place].sum()  # the sum is that of probabilities
            fast, _ = both(lambda broken=broken: scores.judged_margin(broken))
            assert np.isnan(fast[place]) == bool((broken[place] < 0).any() or not np.isfinite(broken[place]).all())
            np.testing.assert_array_equal(np.delete(fast, place), np.delete(scores.margin(clean), place))
    broken = clean * np.where(np.arange(500) == place, np.float32(1.002), 1)[:, None].astype(np.float32)
    fast, plain = both(lambda: scores.judged_margin(broken))
    assert np.flatnonzero(np.isnan(fast)).tolist() == np.flatnonzero(np.isnan(plain)).tolist() == [place]


@pytest.mark.parametrize("n_classes", WIDTHS)
def test_nearest_boundaries_have_the_same_bits(n_classes: int, both: Callable[..., tuple[Any, Any]]) -> None:
    rng = np.random.default_rng(n_classes)
    weight = rng.normal(size=(n_classes, 8))
    if n_classes > 3:
        weight[3] = weight[1]  # no boundary between the two
    boundaries = scores.Boundaries(weight)
    logits = np.round(rng.normal(size=(400, n_classes)) * 4).astype(np.float32)  # ties, also of the largest
    logits[::5] *= np.float32(0.3)
    logits[:3] = [[0.0], [-0.0], [-5.0]]
    fast, plain = both(lambda: boundaries.nearest(logits))
    np.testing.assert_array_equal(fast, plain)
    table = np.where(np.isinf(boundaries.inverse) | (boundaries.inverse == 0), np.inf, boundaries.inverse)
    for i, z in enumerate(logits.astype(np.float64)):
        y = int(z.argmax())
        others = [(z[y] - z[k]) * table[y, k] for k in range(n_classes) if np.isfinite(table[y, k])]
        assert fast[i] == pytest.approx(min(others, default=np.inf), rel=1e-6)


@pytest.mark.parametrize("name", ["margin", "least_confidence", "mase", "base"])
@pytest.mark.parametrize("given", ["probs", "embeddings"])
def test_batches_are_the_same(name: str, given: str, both: Callable[..., tuple[Any, Any]]) -> None:
    rng = np.random.default_rng(3)
    x, weight = rng.normal(size=(4000, 12)).astype(np.float32), rng.normal(size=(20, 12)).astype(np.float32)
    z = x @ weight.T
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    if given == "probs" and name in ("mase", "base"):
        arrays = {"logits": z, "head_weight": weight}
    else:
        arrays = {"probs": p} if given == "probs" else {"embeddings": x, "head_weight": weight}
    fast, plain = both(lambda: pw.select(name, **arrays, batch_size=50, labeled=range(0, 4000, 17)))
    assert fast.indices.tolist() == plain.indices.tolist()
    np.testing.assert_array_equal(fast.scores, plain.scores)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_broken_row_is_named_all_the_same(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "FEWEST", 1)
    assert compiled.load()
    probs = rows_of_probabilities(10, 3000)
    probs[1234, 4] = value
    with pytest.raises(InputError, match="probs row 1234 holds NaN or inf"):
        pw.select("margin", probs=probs, batch_size=5)
    z = np.log(rows_of_probabilities(10, 3000) + 1e-6)
    z[77, 9] = value
    with pytest.raises(InputError, match="logits row 77 holds NaN or inf"):
        pw.select("mase", logits=z, head_weight=np.random.default_rng(0).normal(size=(10, 4)), batch_size=5)
