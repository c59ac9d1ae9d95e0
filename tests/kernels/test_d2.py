"""D2 sampling: the exact law, the same picks however the pool is divided, and defined behaviour when degenerate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from poolwise.errors import InputError
from poolwise.kernels import d2
from poolwise.kernels.blocks import LinearLogits, Softmax
from poolwise.kernels.d2 import d2_sample
from poolwise.kernels.points import Points, sq_distances
from poolwise.kernels.vectors import GradientVectors, PlainVectors, Vectors, measure_all


def toy(n: int, n_classes: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and features, float32."""
    rng = np.random.default_rng(seed)
    z = 2 * rng.normal(size=(n, n_classes))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return p.astype(np.float32), rng.normal(size=(n, width)).astype(np.float32)


def explicit_gradients(p: np.ndarray, h: np.ndarray, bias: bool = False) -> np.ndarray:
    """(n, C * D), built as the paper writes them."""
    residual = p.astype(np.float64)
    for row in residual:
        row[row.argmax()] -= 1
    h = h.astype(np.float64)
    if bias:
        h = np.hstack([h, np.ones((len(h), 1))])
    return np.array([np.outer(e, x).ravel() for e, x in zip(residual, h, strict=True)])


def all_sq(g: np.ndarray) -> np.ndarray:
    return np.array([[((a - b) ** 2).sum() for b in g] for a in g])


def law_of_second_and_third(sq: np.ndarray, first: int) -> dict[tuple[int, int], float]:
    """Probability of each (second, third) pick after a known first one."""
    law = {}
    before = sq[first]
    for i in range(len(sq)):
        after = np.minimum(before, sq[i])
        for j in range(len(sq)):
            if before[i] > 0 and after[j] > 0:
                law[i, j] = before[i] / before.sum() * after[j] / after.sum()
    return law


@pytest.mark.parametrize("bias", [False, True])
def test_factored_distances_equal_those_of_explicit_gradients(bias: bool) -> None:
    p, h = (x.astype(np.float64) for x in toy(25, 4, 3))
    h[7], p[7] = h[3], p[3]  # a duplicate
    e = p.copy()
    e[np.arange(25), p.argmax(axis=1)] -= 1
    g = explicit_gradients(p, h, bias)
    lengths = (g**2).sum(axis=1)
    as_residuals = Points(h, lengths, e, None, float(bias))
    as_probs = Points(h, lengths, p, p.argmax(axis=1), float(bias))
    np.testing.assert_allclose(sq_distances(as_probs, as_residuals), all_sq(g), atol=1e-10, rtol=0)
    np.testing.assert_allclose(sq_distances(as_residuals, as_residuals), all_sq(g), atol=1e-10, rtol=0)
    assert sq_distances(as_probs, as_residuals)[7, 3] == 0


def test_lengths_of_confident_rows_keep_their_digits() -> None:
    p = np.array([[1 - 2e-5, 1e-5, 1e-5], [1, 0, 0]], dtype=np.float32)
    h = np.array([[3.0, 4.0], [3.0, 4.0]], dtype=np.float32)
    vectors = GradientVectors(p, h, np.arange(2))
    list(vectors.measure())
    exact = (explicit_gradients(p, h) ** 2).sum(axis=1)
    np.testing.assert_allclose(vectors.sq, exact, rtol=1e-6)
    assert vectors.sq[1] == 0


@pytest.mark.parametrize("method", ["rejection", "loop"])
def test_pick_frequencies_follow_the_law(method: str) -> None:
    p, h = toy(12, 3, 2)
    sq = all_sq(explicit_gradients(p, h))
    first = int((explicit_gradients(p, h) ** 2).sum(axis=1).argmax())
    law = law_of_second_and_third(sq, first)
    counts = dict.fromkeys(law, 0)
    n_runs = 2500
    for seed in range(n_runs):
        rng = np.random.default_rng(seed)
        picks = d2_sample([GradientVectors(p, h, np.arange(12))], 3, rng, first="largest", method=method).positions
        assert picks[0] == first
        counts[int(picks[1]), int(picks[2])] += 1
    often = [key for key in law if law[key] * n_runs >= 5]
    seldom = n_runs * (1 - sum(law[key] for key in often))
    chi = sum((counts[key] - n_runs * law[key]) ** 2 / (n_runs * law[key]) for key in often)
    chi += (n_runs - sum(counts[key] for key in often) - seldom) ** 2 / seldom
    freedom = len(often)
    assert abs(chi - freedom) < 4 * np.sqrt(2 * freedom)  # 4 standard deviations of chi-square


def test_refreshes_keep_the_law_of_the_potential(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(3).normal(size=(400, 2)).astype(np.float32)

    def mean_potential(method: str, seeds: range) -> tuple[float, float, int]:
        values, refreshes = [], 0
        for seed in seeds:
            draw = d2_sample([PlainVectors(x, np.arange(400))], 60, np.random.default_rng(seed), method=method)
            gaps = ((x[:, None] - x[draw.positions]) ** 2).sum(axis=2).min(axis=1)
            values.append(gaps.sum())
            refreshes += draw.refreshes
        return float(np.mean(values)), float(np.std(values) / np.sqrt(len(values))), refreshes

    monkeypatch.setattr(d2, "CALL_SECONDS", 1.0)  # makes draws dear, so that refreshing always pays
    fast, error, refreshes = mean_potential("rejection", range(200))
    slow, error_slow, _ = mean_potential("loop", range(1000, 1200))
    assert refreshes >= 200
    assert abs(fast - slow) < 3 * np.hypot(error, error_slow)


def test_scores_are_the_distances_at_the_time_of_the_pick() -> None:
    p, h = toy(3000, 10, 16)
    draw = d2_sample([GradientVectors(p, h, np.arange(3000))], 60, np.random.default_rng(0), first="largest")
    g = explicit_gradients(p, h)[draw.positions]
    expected = [(g[0] ** 2).sum()] + [((g[:i] - g[i]) ** 2).sum(axis=1).min() for i in range(1, 60)]
    np.testing.assert_allclose(draw.sq_distances, expected, rtol=1e-4)


def streamed(n: int = 3000) -> tuple[np.ndarray, LinearLogits]:
    rng = np.random.default_rng(5)
    h = rng.normal(size=(n, 24)).astype(np.float16)
    return h, LinearLogits(h, rng.normal(size=(10, 24)), rng.normal(size=10))


@pytest.mark.parametrize("method", ["rejection", "loop"])
@pytest.mark.parametrize("kind", ["plain", "gradients", "streamed"])
def test_picks_do_not_depend_on_blocks_or_shards_or_threads(
    kind: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    p, h = toy(3000, 10, 16)
    half, logits = streamed()
    kept = np.delete(np.arange(3000), np.arange(0, 3000, 7))

    def shard(part: np.ndarray) -> Vectors:
        if kind == "plain":
            return PlainVectors(h, part, origin=None)
        return GradientVectors(p, h, part) if kind == "gradients" else GradientVectors(Softmax(logits), half, part)

    def picks(cuts: list[int]) -> list[int]:
        shards = [shard(part) for part in np.split(kept, cuts)]
        first = "uniform" if kind == "plain" else "largest"
        return d2_sample(shards, 150, np.random.default_rng(8), first=first, method=method).positions.tolist()

    whole = picks([])
    assert len(set(whole)) == 150
    assert picks([700, 701, 1500]) == whole
    with threadpool_limits(1):
        assert picks([]) == whole
    monkeypatch.setattr("poolwise.kernels.vectors.block_rows_for", lambda rows: 37)
    assert picks([]) == whole


def test_conditioning_on_everything_but_one_blob_draws_from_that_blob() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(500, 4)), 1000 + rng.normal(size=(20, 4))]).astype(np.float32)
    for method in ("loop", "rejection"):
        vectors = PlainVectors(x, np.arange(520))
        given = vectors.take(np.arange(500))
        draw = d2_sample([vectors], 1, np.random.default_rng(1), given=given, method=method)
        assert draw.positions[0] >= 500


@pytest.mark.parametrize("method", ["rejection", "loop"])
@pytest.mark.parametrize("count", [1, 5, 40])
def test_degenerate_pools_give_distinct_rows_and_fill_up_from_the_lowest(method: str, count: int) -> None:
    flat = np.full((40, 3), 7.0, dtype=np.float32)
    certain = np.tile(np.array([[0.0, 1.0]], dtype=np.float32), (40, 1))
    doubled = np.repeat(np.random.default_rng(0).normal(size=(4, 3)), 10, axis=0).astype(np.float32)
    pools = [
        (PlainVectors(flat, np.arange(40)), "uniform"),
        (GradientVectors(certain, flat, np.arange(40)), "largest"),
        (GradientVectors(certain, flat * 0, np.arange(40)), "largest"),
        (PlainVectors(doubled, np.arange(40)), "uniform"),
    ]
    for vectors, first in pools:
        picks = d2_sample([vectors], count, np.random.default_rng(1), first=first, method=method).positions
        assert len(set(picks.tolist())) == count
        assert picks.min() >= 0 and picks.max() < 40
    picks = d2_sample([pools[1][0]], 5, np.random.default_rng(1), first="largest", method=method).positions
    assert picks.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("method", ["rejection", "loop"])
def test_every_distinct_row_is_drawn_before_any_duplicate(method: str) -> None:
    x = np.repeat(np.eye(6, dtype=np.float32), 30, axis=0)
    for seed in range(5):
        picks = d2_sample([PlainVectors(x, np.arange(180))], 9, np.random.default_rng(seed), method=method).positions
        assert len(set((picks[:6] // 30).tolist())) == 6


def test_one_far_row_does_not_starve_the_draws() -> None:
    x = np.random.default_rng(0).normal(size=(5000, 8)).astype(np.float32)
    x[1234] = 1e8
    draw = d2_sample([PlainVectors(x, np.arange(5000), origin=None)], 50, np.random.default_rng(0), method="rejection")
    assert 1234 in draw.positions[:2]
    assert len(set(draw.positions.tolist())) == 50


@pytest.mark.parametrize("method", ["loop", "rejection"])
@pytest.mark.parametrize("size", [1e30, 6e18])  # squares, or the squares of distances, exceed float32
def test_lengths_beyond_float32_are_refused(size: float, method: Any) -> None:
    x = np.full((300, 8), size, dtype=np.float32)
    with np.errstate(over="ignore"), pytest.raises(InputError, match="Divide them by a constant"):
        d2_sample([PlainVectors(x, np.arange(300), origin=None)], 3, np.random.default_rng(0), method=method)


def test_a_large_batch_needs_few_passes() -> None:
    p, h = toy(4000, 10, 32)
    draw = d2_sample([GradientVectors(p, h, np.arange(4000))], 500, np.random.default_rng(0), first="largest")
    assert draw.refreshes <= 4
    assert 0.1 < draw.acceptance <= 1


def test_labeled_centres_beyond_the_first_64_count_too() -> None:
    x = np.random.default_rng(2).normal(size=(3000, 50)).astype(np.float32)
    x[2000:] = x[:1000]  # copies of labeled rows
    vectors = PlainVectors(x, np.arange(3000))
    given = vectors.take(np.arange(1000))
    draw = d2_sample([vectors], 30, np.random.default_rng(0), given=given, method="rejection")
    assert ((draw.positions >= 1000) & (draw.positions < 2000)).all()


def test_kept_entries_bound_every_distance_from_above_and_tightly() -> None:
    p, h = toy(200, 40, 6)
    centres = GradientVectors(p, h, np.arange(200)).take(np.arange(0, 200, 9))
    vectors = GradientVectors(p, h, np.arange(200), topk=12)
    measure_all(vectors)
    (_, points), *rest = vectors.blocks(len(centres))
    assert not rest
    bound = sq_distances(points, centres)
    true = all_sq(explicit_gradients(p, h))[:, ::9]
    assert (bound >= true * (1 - 1e-6)).all()
    assert np.median(bound / np.maximum(true, 1e-9)) < 1.2
    e = p - np.eye(40)[p.argmax(axis=1)]
    kept = np.sort(np.abs(e), axis=1)[:, -12:]
    assert vectors.residual == pytest.approx(np.mean(np.sqrt(1 - (kept**2).sum(axis=1) / (e**2).sum(axis=1))), abs=2e-3)


def test_kept_entries_leave_the_law_of_the_potential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(d2, "CALL_SECONDS", 1.0)  # refresh often
    p, h = toy(300, 12, 3)
    sq = all_sq(explicit_gradients(p, h))
    means, errors = [], []
    for topk in (2, None):
        values = []
        for seed in range(150):
            vectors = GradientVectors(p, h, np.arange(300), topk=topk)
            draw = d2_sample([vectors], 30, np.random.default_rng(seed), first="largest", method="rejection")
            values.append(sq[draw.positions].min(axis=0).sum())
        means.append(np.mean(values))
        errors.append(np.std(values) / np.sqrt(150))
    assert abs(means[0] - means[1]) < 3 * np.hypot(*errors)


def test_kept_entries_of_duplicates_come_to_an_end() -> None:
    p, h = toy(2, 12, 3)
    p, h = np.repeat(p, 400, axis=0), np.repeat(h, 400, axis=0)
    vectors = GradientVectors(p, h, np.arange(800), topk=3)
    draw = d2_sample([vectors], 6, np.random.default_rng(0), first="largest", method="rejection")
    assert len(set(draw.positions.tolist())) == 6
    assert len(set((draw.positions[:2] // 400).tolist())) == 2
