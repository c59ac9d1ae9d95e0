"""Scores compared with their textbook definitions, written row by row."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy

from poolwise.kernels import scores

WIDTHS = [1, 2, 3, 4, 5, 7, 8, 31, 100, 191, 192, 193, 300]


@pytest.mark.parametrize("n_classes", WIDTHS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_top_two_equals_a_full_sort_ties_included(n_classes: int, dtype: type) -> None:
    block = np.random.default_rng(n_classes).integers(0, 4, (2500, n_classes)).astype(dtype)
    ordered = np.sort(block, axis=1)[:, ::-1]
    first, second = scores.top_two(block)
    assert np.array_equal(first, ordered[:, 0])
    assert np.array_equal(second, ordered[:, 1] if n_classes > 1 else np.full(2500, -np.inf))
    assert np.array_equal(scores.row_max(block), ordered[:, 0])


def odd_rows(rng: np.random.Generator, n_classes: int, fault: str) -> np.ndarray:
    """One row of each fault a judged score must see, with no other fault."""
    row = rng.dirichlet(np.ones(n_classes))
    place = int(rng.integers(n_classes))
    if fault in ("nan", "inf", "-inf"):
        row[place] = float(fault)
    elif fault == "sum":
        row *= 1.0011
    elif fault == "minus zero":
        row[:] = 0
        row[place], row[place - 1] = 1, -0.0
    else:  # a negative value, the sum kept
        row[place] -= 2
        row[place - 1] += 2
    return row


@pytest.mark.parametrize("n_classes", WIDTHS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_judged_scores_are_the_plain_ones_or_nan_where_a_row_is_in_doubt(n_classes: int, dtype: type) -> None:
    rng = np.random.default_rng(n_classes)
    probs = rng.dirichlet(np.full(n_classes, 0.2), 2500)
    probs[::7] = np.eye(n_classes)[rng.integers(0, n_classes, len(probs[::7]))]
    probs[::9] = 1 / n_classes
    probs = probs.astype(dtype)
    for name in ("margin", "least_confidence", "entropy"):
        plain, judged = getattr(scores, name), getattr(scores, f"judged_{name}")
        np.testing.assert_array_equal(judged(probs), plain(probs))
        for fault in ("nan", "inf", "-inf", "sum", "negative") if n_classes > 1 else ("nan", "inf", "-inf", "sum"):
            for place in (0, 1300, 2499):
                broken = probs.copy()
                broken[place] = odd_rows(rng, n_classes, fault)
                got = judged(broken)
                assert np.isnan(got[place]), (name, fault)
                sure = ~np.isnan(got)
                np.testing.assert_array_equal(got[sure], plain(broken)[sure])
        if n_classes > 1:
            broken = probs.copy()
            broken[44] = odd_rows(rng, n_classes, "minus zero")
            got = judged(broken)
            sure = ~np.isnan(got)
            np.testing.assert_array_equal(got[sure], plain(broken)[sure])


@pytest.mark.parametrize("n_classes", [2, 10, 250])
def test_scores_equal_their_definitions_from_probabilities_and_from_logits(n_classes: int) -> None:
    logits = np.random.default_rng(0).normal(size=(300, n_classes)) * 4
    probs = softmax(logits, axis=1)
    ordered = np.sort(probs, axis=1)
    expected = {
        "margin": [1 - (row[-1] - row[-2]) for row in ordered],
        "least_confidence": [1 - max(row) for row in probs],
        "entropy": [scipy_entropy(row) for row in probs],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(scores, name)(probs), values, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(getattr(scores, f"{name}_of_logits")(logits), values, rtol=1e-9, atol=1e-12)


def test_extreme_logits_and_certain_probabilities_give_finite_scores() -> None:
    logits = np.array([[1e4, -1e4, 0], [0, 0, 0], [-1e4, -1e4, -1e4]], dtype=np.float32)
    assert scores.entropy_of_logits(logits) == pytest.approx([0, np.log(3), np.log(3)], abs=1e-6)
    assert scores.margin_of_logits(logits) == pytest.approx([0, 1, 1])
    assert scores.entropy(np.array([[0.0, 1.0]])) == pytest.approx([0])


def dense_distances(logits: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The class distances T of the specification, one pair at a time."""
    out = np.empty_like(logits)
    for i, z in enumerate(logits):
        k = int(np.argmax(z))
        for c in range(len(z)):
            gap = np.linalg.norm(weight[k] - weight[c])
            out[i, c] = np.inf if c == k or gap == 0 else (z[k] - z[c]) / gap
        out[i, k] = out[i].min()
    return out


def test_boundary_distances_equal_the_pairwise_definition() -> None:
    rng = np.random.default_rng(1)
    x, weight, bias = rng.normal(size=(80, 6)), rng.normal(size=(9, 6)), rng.normal(size=9)
    weight[4] = weight[7]  # no boundary between them
    logits = x @ weight.T + bias
    boundaries = scores.Boundaries(weight)
    distances, predicted, rival = boundaries.distances(logits)
    np.testing.assert_allclose(distances, dense_distances(logits, weight), rtol=1e-9)
    assert boundaries.equal_pairs == 1
    assert np.isinf(distances[predicted == 4, 7]).all()
    row = np.arange(80)
    assert np.array_equal(distances[row, predicted], distances[row, rival])
    assert np.array_equal(distances[row, predicted], distances.min(axis=1)) and (distances >= 0).all()
    np.testing.assert_allclose(boundaries.nearest(logits), distances.min(axis=1))


def test_moving_a_row_by_its_distance_makes_the_top_two_logits_equal() -> None:
    rng = np.random.default_rng(2)
    x, weight, bias = rng.normal(size=(50, 5)), rng.normal(size=(7, 5)), rng.normal(size=7)
    logits = x @ weight.T + bias
    distances, k, j = scores.Boundaries(weight).distances(logits)
    direction = weight[k] - weight[j]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    moved = (x - distances[np.arange(50), k][:, None] * direction) @ weight.T + bias
    first, second = np.sort(moved, axis=1)[:, -1], np.sort(moved, axis=1)[:, -2]
    np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-9 * np.abs(logits).max())


def test_nearly_equal_class_weights_keep_their_digits() -> None:
    weight = np.random.default_rng(3).normal(size=(4, 300)) + 1000
    weight[1] = weight[0]
    weight[1, 0] += 1e-4
    inverse = scores.Boundaries(weight).inverse
    assert inverse[0, 1] == pytest.approx(1 / np.linalg.norm(weight[0] - weight[1]), rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("head", ["plain", "lengths apart", "twins", "all equal", "one class", "two classes"])
def test_rows_ruled_out_by_a_limit_are_those_above_it(head: str, dtype: type) -> None:
    rng = np.random.default_rng(5)
    n_classes = {"one class": 1, "two classes": 2}.get(head, 30)
    weight = rng.normal(size=(n_classes, 6))
    if head == "lengths apart":
        weight *= np.geomspace(0.01, 100, n_classes)[:, None]
    if head == "twins":
        weight[10:20] = weight[:10]
    if head == "all equal":
        weight[:] = weight[0]
    rows = rng.normal(size=(3000, 6)) + 100
    rows[1000:2000] = rows[:1000]
    boundaries = scores.Boundaries(weight)
    logits = (rows @ weight.T).astype(dtype)
    every = boundaries.nearest(logits)
    finite = every[np.isfinite(every)]
    for limit in (0.0, *(np.quantile(finite, (0.01, 0.3, 0.9)) if len(finite) else ()), 1e6, np.inf):
        got = boundaries.nearest_within(logits, float(limit))
        inside = every <= limit
        np.testing.assert_array_equal(got[inside], every[inside])
        assert (got[~inside] > limit).all()


@pytest.mark.parametrize("kind", ["plain", "coarse", "constant", "ascending", "descending", "infinite"])
@pytest.mark.parametrize("n_classes", [1, 2, 3, 4, 5, 9, 100, 193, 200, 1001])
def test_the_two_largest_values_of_a_row_are_those_of_a_sort(n_classes: int, kind: str) -> None:
    rng = np.random.default_rng(n_classes)
    z = rng.normal(size=(120, n_classes)).astype(np.float32)
    if kind == "coarse":
        z = np.round(z)  # several columns are largest
    if kind == "constant":
        z[:] = 100
    if kind in ("ascending", "descending"):
        z = np.sort(z, axis=1)[:, :: 1 if kind == "ascending" else -1].copy()
    if kind == "infinite":
        z[::2, : n_classes // 2] = -np.inf
    ordered = np.sort(z, axis=1)
    second = ordered[:, -2] if n_classes > 1 else np.full(120, -np.inf)
    first, runner_up = scores.top_two(z)
    np.testing.assert_array_equal(first, ordered[:, -1])
    np.testing.assert_array_equal(runner_up, second)


@pytest.mark.parametrize("n_classes", [2, 3, 10, 100, 1000])
def test_rounding_bounds_the_error_of_float32_margins(n_classes: int) -> None:
    rng = np.random.default_rng(n_classes)
    probs = np.concatenate([rng.dirichlet(np.full(n_classes, a), 3000) for a in (0.01, 0.1, 1.0, 100.0)])
    probs *= 1 + rng.uniform(-1e-3, 1e-3, (len(probs), 1))  # sums that are still accepted
    for given in (probs, probs.astype(np.float32).astype(np.float64)):
        for score in (scores.margin, scores.least_confidence):
            error = np.abs(score(given.astype(np.float32)) - score(given)).max()
            assert 0 < error < scores.ROUNDING / 2
