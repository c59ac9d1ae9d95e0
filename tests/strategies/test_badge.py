"""Facts particular to BADGE; its sampler is tested in kernels/test_d2.py."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw


def pool(n: int = 200, n_classes: int = 3, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, width)).astype(np.float32), rng.dirichlet(np.ones(n_classes), size=n)


def test_starts_with_the_longest_gradient() -> None:
    x, p = pool()
    lengths = [np.linalg.norm(np.outer(row - np.eye(3)[row.argmax()], h)) for row, h in zip(p, x, strict=True)]
    batch = pw.select("badge", embeddings=x, probs=p, batch_size=3)
    assert batch.indices[0] == int(np.argmax(lengths))
    assert batch.components["gradient_length"][0] == pytest.approx(max(lengths), rel=1e-5)


def test_never_takes_a_certain_item_twice_in_effect() -> None:
    x, p = pool()
    p[50:] = [1.0, 0.0, 0.0]  # gradients of zero, all the same
    batch = pw.select("badge", embeddings=x, probs=p, batch_size=45, seed=3)
    assert (batch.indices >= 50).sum() <= 1


def test_conditioning_on_labeled_avoids_their_copies() -> None:
    x, p = pool()
    x[100:], p[100:] = x[:100], p[:100]
    labeled = np.arange(90)
    batch = pw.select("badge", embeddings=x, probs=p, labeled=labeled, batch_size=10, condition_on_labeled=True, seed=1)
    assert not np.isin(batch.indices, np.arange(100, 190)).any()


def test_bias_counts_items_at_the_origin() -> None:
    x, p = pool()
    x[:] = 0
    batch = pw.select("badge", embeddings=x, probs=p, batch_size=5, bias=True)
    assert batch.scores is not None
    assert (batch.scores > 0).all()


def test_head_and_probabilities_give_the_same_batch() -> None:
    x, _ = pool()
    w, a = np.random.default_rng(1).normal(size=(4, 5)), np.array([0.1, 0, 0, -1])
    z = x @ w.T + a
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    by_head = pw.select("badge", embeddings=x, head_weight=w, head_bias=a, batch_size=20)
    by_probs = pw.select("badge", embeddings=x, probs=p, batch_size=20)
    assert by_head.indices.tolist() == by_probs.indices.tolist()
