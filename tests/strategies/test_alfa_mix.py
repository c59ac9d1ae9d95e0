"""Facts particular to ALFA-Mix."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import ArrayMissingError
from poolwise.strategies.alfa_mix import class_means, flip_scores

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 6))
W = RNG.normal(size=(5, 6))
Y = np.where(np.arange(400) < 30, np.arange(400) % 5, -1)


def flips_by_the_paper(x: np.ndarray, anchors: np.ndarray, eps: float) -> list[bool]:
    """Loop over items and anchors: mix by the closed form of the paper's equation 7, and look at the class."""
    out = []
    for h in x:
        z = W @ h
        p = np.exp(z - z.max())
        p /= p.sum()
        p[z.argmax()] -= 1
        g = W.T @ p
        flipped = False
        for a in anchors:
            alpha = eps * np.linalg.norm(a - h) * g / (np.linalg.norm(g) * (a - h))
            mixed = alpha * a + (1 - alpha) * h
            flipped |= (W @ mixed).argmax() != z.argmax()
        out.append(bool(flipped))
    return out


@pytest.mark.parametrize("eps", [0.02, 0.08, 0.3])
def test_the_shortcut_finds_exactly_the_items_that_the_loop_over_anchors_finds(eps: float) -> None:
    anchors = class_means(X, np.arange(30), Y[:30])
    scores = flip_scores(X, X @ W.T, W, anchors)
    expected = flips_by_the_paper(X, anchors, eps)
    assert (scores * eps > 1).tolist() == expected
    assert 0 < sum(expected) < 400


def test_anchors_are_the_means_of_the_labeled_classes() -> None:
    anchors = class_means(X, np.arange(30), Y[:30])
    np.testing.assert_allclose(anchors, [X[:30][Y[:30] == c].mean(axis=0) for c in range(5)])


def test_all_picks_flip_where_enough_items_do_and_a_copy_of_an_anchor_is_harmless() -> None:
    x = X.copy()
    x[40:60] = x[0]
    labels = np.where(np.arange(400) == 0, 1, -1)
    batch = pw.select("alfa_mix", embeddings=x, logits=x @ W.T, head_weight=W, labels=labels, step=0.3, batch_size=9)
    assert batch.components["flips"].all()
    assert np.isfinite(batch.scores).all()


def test_without_labels_it_says_what_to_do() -> None:
    with pytest.raises(ArrayMissingError, match="needs labels of some items"):
        pw.select("alfa_mix", embeddings=X, logits=X @ W.T, head_weight=W, batch_size=3)
