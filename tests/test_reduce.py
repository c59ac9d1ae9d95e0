"""Facts about reducers, against loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from poolwise.errors import ArrayMissingError, BudgetError, OptionError
from poolwise.kernels import blocks
from poolwise.reduce import NEIGHBORS, narrow

X = np.random.default_rng(0).normal(size=(700, 5))
P = np.random.default_rng(1).dirichlet(np.ones(3), size=700)
LABELED = np.arange(0, 12)
FREE = np.arange(12, 700)
Y = np.where(np.arange(700) < 12, np.arange(700) % 3, -1)


def kept(method: str, **changes: Any) -> list[int]:
    given: dict[str, Any] = {"labeled": LABELED, "unlabeled": FREE, "batch_size": 5, "rng": np.random.default_rng(2)}
    given |= {"embeddings": X, "probs": P, "labels": Y}
    return narrow(method, **(given | changes)).tolist()


def test_seals_keeps_every_neighbour_of_a_labeled_item_and_a_tenth_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    near = set()
    for i in LABELED.tolist():
        near |= set(sorted(FREE.tolist(), key=lambda j: np.linalg.norm(unit[i] - unit[j]))[:NEIGHBORS])
    got = kept("seals")
    assert near < set(got)
    assert len(got) - len(near) == min(round(0.1 * len(near)), len(FREE) - len(near))
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4)
    monkeypatch.setattr(blocks, "MIN_BLOCK_ROWS", 13)
    assert kept("seals") == got


def test_anchors_keep_the_items_most_like_all_anchors_on_average() -> None:
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    score = {j: np.mean([unit[j] @ unit[i] for i in LABELED]) for j in FREE.tolist()}  # 4 of a class: all are anchors
    assert kept("anchors", keep=50) == sorted(sorted(score, key=lambda j: -score[j])[:50])


def test_margin_keeps_the_smallest_margins() -> None:
    top = np.sort(P, axis=1)
    gap = top[:, -1] - top[:, -2]
    assert kept("margin", keep=40) == sorted(sorted(FREE.tolist(), key=lambda j: gap[j])[:40])


def test_nothing_labeled_means_random_and_never_too_few() -> None:
    none = np.empty(0, dtype=np.int64)
    for method in ("seals", "anchors", "random"):
        got = kept(method, labeled=none, keep=30)
        assert len(set(got)) == 30 and got == sorted(got)
    assert kept("all") == FREE.tolist()
    assert len(kept("seals", batch_size=600)) >= 600


def test_what_is_missing_or_wrong_is_named() -> None:
    with pytest.raises(OptionError, match="no reducer named 'nearest'"):
        kept("nearest")
    with pytest.raises(ArrayMissingError, match="needs embeddings"):
        kept("seals", embeddings=None)
    with pytest.raises(BudgetError, match="keep must be at least batch_size = 5"):
        kept("random", keep=4)
