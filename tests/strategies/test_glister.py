"""Facts particular to GLISTER."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import InputError, OptionError
from poolwise.strategies import glister as module
from poolwise.strategies.glister import Judge, _judge, inner_products, pseudo_errors

Data = dict[str, np.ndarray]


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def make_data(seed: int, n: int = 200, d: int = 5, c: int = 4) -> tuple[Data, np.ndarray]:
    """A pool with a head that is mostly right; items 0 to 39 are labeled, and half of them validation items."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, c, n)
    x = rng.normal(size=(n, d)) + 1.5 * rng.normal(size=(c, d))[truth]
    means = np.stack([x[truth == k].mean(axis=0) for k in range(c)])
    p = softmax(x @ means.T - (means**2).sum(axis=1) / 2)
    labels = np.where(np.arange(n) < 40, truth, -1)
    return {"embeddings": x, "probs": p, "labels": labels, "validation": np.arange(n) < 20}, truth


def slow_glister(data: Data, batch_size: int, blocks: int) -> tuple[list[int], list[float]]:
    """Explicit gradients of C x D numbers for every item, and a step found on a fine grid."""
    x, p, y = data["embeddings"], data["probs"], data["labels"]
    x = x / np.sqrt((x[:40] ** 2).sum(axis=1).mean())
    seen = np.flatnonzero(data["validation"])
    z = np.log(p[seen])
    gradients = {}
    for i in range(40, len(x)):
        q = p[i].copy()
        q[np.argmax(q)] -= 1
        gradients[i] = np.outer(q, x[i])
    batch: list[int] = []
    values: list[float] = []
    for part in np.array_split(np.arange(batch_size), blocks):
        target = sum(np.outer(softmax(z)[v] - np.eye(p.shape[1])[y[i]], x[i]) for v, i in enumerate(seen))
        scores = {i: float((g * target).sum()) for i, g in gradients.items() if i not in batch}
        best = sorted(scores, key=lambda i: (-scores[i], i))[: len(part)]
        batch += best
        values += [scores[i] for i in best]
        change = -x[seen] @ sum(gradients[i] for i in best).T
        grid = np.linspace(0, module.LARGEST_CHANGE / np.abs(change).max(), 200_001)
        low, high = 0, len(grid) - 1
        while high - low > 2:  # the loss along a line is convex
            a, b = low + (high - low) // 3, high - (high - low) // 3
            loss = [-np.log(softmax(z + grid[t] * change)[np.arange(len(seen)), y[seen]]).mean() for t in (a, b)]
            low, high = (low, b) if loss[0] < loss[1] else (a, high)
        z = z + grid[(low + high) // 2] * change
    return batch, values


@pytest.mark.parametrize("seed", range(5))
def test_matches_a_slow_version_with_explicit_gradients(seed: int) -> None:
    data, _ = make_data(seed)
    batch = pw.select("glister", **data, batch_size=12, blocks=4)
    expected, values = slow_glister(data, 12, 4)
    assert batch.notes["taken_by"] == "gradients"
    assert batch.indices.tolist() == expected
    np.testing.assert_allclose(batch.scores, values, rtol=2e-3, atol=1e-4)
    assert batch.components["block"].tolist() == np.repeat(np.arange(4), 3).tolist()


def test_score_is_the_inner_product_of_gradients_and_the_sign_reverses_the_order() -> None:
    rng = np.random.default_rng(0)
    x, p, gradient = rng.normal(size=(50, 6)), rng.dirichlet(np.ones(3), 50), rng.normal(size=(3, 6))
    q = pseudo_errors(p)
    scores = inner_products(x, q, gradient)
    for i in range(50):
        error = p[i] - np.eye(3)[p[i].argmax()]
        assert scores[i] == pytest.approx((np.outer(error, x[i]) * gradient).sum())
    assert np.argsort(-inner_products(x, q, -gradient)).tolist() == np.argsort(-scores)[::-1].tolist()


def test_score_predicts_how_the_validation_loss_changes() -> None:
    data, _ = make_data(1)
    x, p = data["embeddings"], data["probs"]
    judge = Judge(x[:20], np.log(p[:20]), data["labels"][:20], 1.0)
    before, step = judge.loss() * 20, 1e-6
    for i in range(40, 50):
        q = pseudo_errors(p[i : i + 1])
        moved = Judge(judge.x, judge.z - step * np.outer(x[:20] @ x[i], q[0]), judge.y, 1.0)
        fall = (before - moved.loss() * 20) / step
        assert fall == pytest.approx(inner_products(x[i : i + 1], q, judge.gradient())[0], rel=1e-3, abs=1e-4)


def test_a_step_lowers_the_validation_loss_or_is_not_made() -> None:
    data, _ = make_data(2)
    judge = Judge(data["embeddings"][:20], np.log(data["probs"][:20]), data["labels"][:20], 1.0)
    q = pseudo_errors(data["probs"][40:60])
    x, before = data["embeddings"][40:60], judge.loss()
    judge.step(x, q)
    after = judge.loss()
    judge.step(x, -q)  # one of the two directions rises
    assert judge.loss() <= after <= before
    assert judge.loss() < before - 1e-3


def test_scores_that_are_not_computed_again_would_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds decide which of 20,000 scores are computed again: the picks are those of computing all."""
    data, _ = make_data(3, n=20_000)
    lazy = pw.select("glister", **data, batch_size=200)
    counted: list[int] = []
    update = module._Pool._update

    def everything(pool: module._Pool, at: np.ndarray) -> None:
        counted.append(len(at))
        update(pool, np.arange(len(pool.indices)))

    monkeypatch.setattr(module._Pool, "_update", everything)
    full = pw.select("glister", **data, batch_size=200)
    assert lazy.indices.tolist() == full.indices.tolist()
    np.testing.assert_array_equal(lazy.scores, full.scores)
    assert counted[1] < 10_000


def test_items_that_the_head_was_fitted_to_count_as_if_left_out() -> None:
    """The correction against really fitting a head 40 times without one item (same regularisation)."""
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, 40)
    x = rng.normal(size=(40, 3)) + 0.7 * np.eye(3)[truth]
    scaled = x / np.sqrt((x**2).sum(axis=1).mean())

    def fit(rows: np.ndarray) -> np.ndarray:
        w = np.zeros((2, 3))
        for _ in range(1500):
            error = softmax(scaled[rows] @ w.T) - np.eye(2)[truth[rows]]
            w -= 0.05 * (error.T @ scaled[rows] + w)
        return w

    everything = np.arange(40)
    z = scaled @ fit(everything).T
    judge = _judge(x, softmax(z), truth, everything, everything, True, rng)
    left_out = np.stack([scaled[i] @ fit(np.delete(everything, i)).T for i in range(40)])
    got, expected, plain = (v[:, 0] - v[:, 1] for v in (judge.z, left_out, z))
    assert np.abs(got - expected).mean() < 0.2 * np.abs(plain - expected).mean()


def test_without_labels_or_with_a_poor_head_the_middles_of_clusters_are_taken() -> None:
    data, truth = make_data(6)
    cold = pw.select("glister", embeddings=data["embeddings"], probs=data["probs"], batch_size=5)
    assert cold.notes["taken_by"] == "clusters"
    wrong = {**data, "labels": np.where(data["labels"] >= 0, (truth + 1) % 4, -1)}
    poor = pw.select("glister", **wrong, batch_size=5)
    assert poor.notes["taken_by"] == "clusters" and poor.notes["accuracy"] < 0.3
    assert pw.select("glister", **wrong, batch_size=5, least_accuracy=0).notes["taken_by"] == "gradients"


def test_prefers_what_the_validation_items_are_about() -> None:
    """Two regions with their own classes; the validation items lie in one, and so does the batch."""
    rng = np.random.default_rng(7)
    of = np.repeat([0, 1], 300)
    x = np.zeros((600, 4))
    x[np.arange(600), 2 * of] = 1
    x[np.arange(600), 2 * of + 1] = rng.normal(size=600)
    truth = 2 * of + (x[np.arange(600), 2 * of + 1] > 0)
    z = np.full((600, 4), -4.0)
    for k in range(4):
        here = of == k // 2
        z[here, k] = 0.5 * (2 * (k % 2) - 1) * x[here, 2 * (k // 2) + 1]
    shown = np.flatnonzero(of == 0)[:40]
    labels = np.full(600, -1)
    labels[shown] = truth[shown]
    batch = pw.select(
        "glister",
        embeddings=x,
        probs=softmax(z),
        labels=labels,
        validation=np.isin(np.arange(600), shown),
        batch_size=20,
    )
    assert (of[batch.indices] == 0).all()


def test_wrong_input_is_named() -> None:
    data, _ = make_data(8)
    with pytest.raises(InputError, match="item 3 has label 9; probs has 4 classes"):
        pw.select("glister", **{**data, "labels": np.where(np.arange(200) == 3, 9, data["labels"])}, batch_size=3)
    with pytest.raises(InputError, match="validation"):
        pw.select("glister", **{**data, "validation": np.arange(200) > 100}, batch_size=3)
    for option in ({"blocks": 0}, {"least_accuracy": 1.5}):
        with pytest.raises(OptionError, match="glister"):
            pw.select("glister", **data, batch_size=3, **option)
