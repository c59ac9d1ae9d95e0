"""Coarse logits never rule out a row that belongs into the batch: their bounds hold, and the batch is the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import InputError
from poolwise.kernels import coarse, compiled, scores
from poolwise.kernels.blocks import LinearLogits
from poolwise.kernels.coarse import Bounds, CoarseHead
from poolwise.types import Array

pytest.importorskip("numba")
torch = pytest.importorskip("torch")
jit = pytest.importorskip("poolwise.kernels.jit")

STRATEGIES = ["margin", "least_confidence", "mase"]


@pytest.fixture(autouse=True)
def in_force(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use coarse logits whatever this processor makes of bfloat16."""
    assert compiled.load()
    monkeypatch.setattr(coarse._State, "fast", True)
    yield


def problem(kind: str, n: int, d: int, c: int, seed: int = 0) -> tuple[Array, Array, Array]:
    """Rows, weights and bias."""
    rng = np.random.default_rng([seed, n, d, c])
    x, weight, bias = rng.standard_normal((n, d)), rng.standard_normal((c, d)), rng.standard_normal(c)
    if kind == "worst rounding":  # every product loses as much as it can, in one direction
        x, weight = np.full((n, d), 1 + 2.0**-8 - 2.0**-20), np.full((c, d), 1 + 2.0**-8 - 2.0**-20)
        weight *= rng.choice([1, 1.25, 1.5], (c, 1))
        x *= rng.choice([1, 1.125], (n, d))
    elif kind == "offset":
        x += 100
    elif kind == "float16 extremes":
        x = np.where(rng.random((n, d)) < 0.5, 65504, 6e-8) * rng.choice([-1, 1], (n, d))
    elif kind == "tiny":
        x *= 1e-25
        bias[:] = 0
    elif kind == "tiny weights":
        weight *= 1e-25
        bias[:] = 0
    elif kind == "one class":
        bias[0] += 1000
    elif kind == "uneven weights":
        weight *= 10 ** rng.uniform(-2, 2, (c, 1))
    return x.astype(np.float32), weight, bias


KINDS = ["plain", "worst rounding", "offset", "float16 extremes", "tiny", "tiny weights", "one class", "uneven weights"]


def bounds_of(x: Array, weight: Array, bias: Array, better: bool) -> Bounds:
    """What is known of rows after the first look, or after the second."""
    seen: list[Bounds] = []

    def misses(bounds: Bounds) -> Array:
        seen.append(bounds)
        return np.full(len(bounds.gap), len(seen) == 2)  # nothing at first; but all would with better logits

    CoarseHead(jit, weight, bias).open_rows(x, misses, mass=True)
    return seen[2 if better else 0]


@pytest.mark.parametrize("better", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("d", "c"), [(1, 2), (3, 1), (17, 5), (600, 40)])
def test_bounds_hold(kind: str, d: int, c: int, better: bool) -> None:
    x, weight, bias = problem(kind, 300, d, c)
    z = x.astype(np.float64) @ weight.T + bias
    found = bounds_of(x, weight, bias, better)
    order = np.sort(z, axis=1)
    gap = order[:, -1] - order[:, -2] if c > 1 else np.full(len(z), np.inf)
    known = found.gap > 0
    assert (found.top[known] == z.argmax(axis=1)[known]).all()
    assert (found.gap[known] <= gap[known]).all()
    mass = np.exp(np.minimum(z - z[np.arange(len(z)), found.top][:, None], 79)).sum(axis=1)
    trusted = np.isfinite(found.gap)
    assert (found.mass[trusted] >= mass[trusted]).all()


def test_bounds_are_worth_something() -> None:
    x, weight, bias = problem("plain", 300, 600, 40)
    weight /= np.sqrt(600)
    z = np.sort(x.astype(np.float64) @ weight.T + bias, axis=1)
    gap, first, second = z[:, -1] - z[:, -2], bounds_of(x, weight, bias, False), bounds_of(x, weight, bias, True)
    reach = np.linalg.norm(x, axis=1).mean() * np.linalg.norm(weight, axis=1).mean()
    assert np.abs(gap - first.gap).mean() < 2 * 2.0**-8 * reach
    assert np.abs(gap - second.gap).mean() < np.abs(gap - first.gap).mean() / 3
    assert (first.mass / np.exp(z - z[:, -1:]).sum(axis=1)).max() < 1.5


def test_rounding_is_that_of_torch() -> None:
    x = np.random.default_rng(0).standard_normal((40, 33)) * 10.0 ** np.arange(-20, 20)[:, None]
    x = x.astype(np.float32)
    x[0, :4] = [1 + 2.0**-8, 1 + 3 * 2.0**-8, -0.0, 3e38]  # two ties, to even; a zero; nearly the largest
    near, lengths = np.empty(x.shape, dtype=np.uint16), np.empty((40, 2), dtype=np.float32)
    jit.round_rows(x, near, lengths)
    rounded = torch.from_numpy(x).bfloat16()
    assert np.array_equal(near, rounded.view(torch.uint16).numpy())
    back = rounded.double().numpy()
    some = slice(10, 30)  # where squares neither overflow nor vanish
    exact = np.stack([np.linalg.norm(x - back, axis=1), np.linalg.norm(back, axis=1)], axis=1)
    assert np.allclose(lengths[some], exact[some], rtol=1e-5)
    both = np.empty((3, 66), dtype=np.uint16)
    places = np.array([12, 20, 21])
    jit.lost_and_near(x, places, both)
    expected = torch.from_numpy(np.hstack([x - back.astype(np.float32), back.astype(np.float32)])[places]).bfloat16()
    assert np.array_equal(both, expected.view(torch.uint16).numpy())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_row_is_ruled_out_that_reaches_the_floor(strategy: str, kind: str) -> None:
    x, weight, bias = problem(kind, 900, 64, 20)
    z = x.astype(np.float64) @ weight.T + bias
    table = scores.Boundaries(weight)
    score, misses = {
        "margin": (scores.margin_of_logits, scores.margin_misses),
        "least_confidence": (scores.least_confidence_of_logits, scores.least_confidence_misses),
        "mase": (lambda rows: -table.nearest(rows), lambda floor, bounds: table.misses(-floor, bounds)),
    }[strategy]
    exact = score(z)
    head = CoarseHead(jit, weight, bias)
    for share in (0.0, 0.5, 0.9, 0.99):
        floor = float(np.quantile(exact, share))
        left = head.open_rows(x, lambda bounds, floor=floor: misses(floor, bounds), mass=True)
        assert left is not None
        assert set(np.flatnonzero(exact > floor)) <= set(left.tolist())


def with_and_without(monkeypatch: pytest.MonkeyPatch, strategy: str, **given: Any) -> tuple[pw.Selection, pw.Selection]:
    """Batches with coarse logits and without."""
    first = pw.select(strategy, **given)
    with monkeypatch.context() as patch:
        patch.setattr(coarse._State, "fast", False)
        return first, pw.select(strategy, **given)


@pytest.mark.parametrize("kind", [*KINDS, "duplicates", "constant", "float16"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_batch_is_the_same(monkeypatch: pytest.MonkeyPatch, strategy: str, kind: str) -> None:
    x, weight, bias = problem(kind, 6000, 48, 30)
    if kind == "duplicates":
        x = x[np.random.default_rng(1).integers(0, 700, len(x))]
    elif kind == "constant":
        x[:] = x[0]
    elif kind == "float16":
        x = x.astype(np.float16)
    given = {"embeddings": x, "head_weight": weight, "head_bias": bias, "batch_size": 150}
    coarse_batch, plain = with_and_without(monkeypatch, strategy, **given)
    assert np.array_equal(coarse_batch.indices, plain.indices)
    assert np.array_equal(coarse_batch.scores, plain.scores)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_batch_is_the_same_for_part_of_a_pool(monkeypatch: pytest.MonkeyPatch, strategy: str) -> None:
    x, weight, bias = problem("plain", 40_000, 8, 12)
    rng = np.random.default_rng(2)
    for share in (0.9, 0.3):  # read as ranges, and by index
        unlabeled = np.flatnonzero(rng.random(len(x)) < share)
        given = {"embeddings": x, "head_weight": weight, "head_bias": bias, "unlabeled": unlabeled, "batch_size": 300}
        coarse_batch, plain = with_and_without(monkeypatch, strategy, **given)
        assert np.array_equal(coarse_batch.indices, plain.indices)


def test_most_rows_are_ruled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = [0, 0]
    whole = CoarseHead.open_rows

    def counting(self: CoarseHead, x: Array, *rest: Any) -> Any:
        left = whole(self, x, *rest)
        assert left is not None
        counted[0] += len(x)
        counted[1] += len(left)
        return left

    monkeypatch.setattr(CoarseHead, "open_rows", counting)
    x, weight, bias = problem("plain", 20_000, 64, 10)
    pw.select("mase", embeddings=x, head_weight=weight, head_bias=bias, batch_size=100)
    assert counted[0] == len(x)
    assert counted[1] < 0.1 * len(x)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named(bad: float) -> None:
    x, weight, bias = problem("plain", 5000, 16, 4)
    x[4321, 3] = bad
    with pytest.raises(InputError, match="embeddings row 4321 holds NaN or inf"):
        pw.select("mase", embeddings=x, head_weight=weight, head_bias=bias, batch_size=10)


def test_rows_whose_squares_overflow_are_scored_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias = problem("plain", 5000, 16, 4)
    x[100] *= 1e30
    given = {"embeddings": x, "head_weight": weight, "head_bias": bias, "batch_size": 10}
    coarse_batch, plain = with_and_without(monkeypatch, "mase", **given)
    assert np.array_equal(coarse_batch.indices, plain.indices)


def test_they_are_loaded_when_that_has_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coarse._State, "fast", None)
    monkeypatch.setattr(coarse._State, "multiplied", 0)
    monkeypatch.setattr(coarse, "PAYS", 3 * 100 * 4 * 16)
    monkeypatch.setattr(coarse, "gain", lambda: 8.0)
    x, weight, bias = problem("plain", 100, 16, 4)
    logits = LinearLogits(x, weight, bias)
    assert [coarse.head_for(logits, len(x)) is not None for _ in range(4)] == [False, False, True, True]


def test_a_processor_that_gains_nothing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coarse._State, "fast", None)
    monkeypatch.setattr(coarse, "gain", lambda: 1.9)
    assert not coarse.load()
    x, weight, bias = problem("plain", 100, 16, 4)
    assert coarse.head_for(LinearLogits(x, weight, bias), 2**60) is None


def test_a_device_has_its_own_way() -> None:
    x, weight, bias = problem("plain", 3000, 16, 4)
    given = {"embeddings": x, "head_weight": weight, "head_bias": bias, "batch_size": 10}
    there = pw.select("mase", **given, device="cpu")
    assert there.notes["device"] == "cpu: logits of the head, scores"
    assert np.array_equal(there.indices, pw.select("mase", **given).indices)
