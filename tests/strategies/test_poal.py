"""Facts particular to POAL; the contract every strategy obeys is in test_contract.py."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import InputError, OptionError


def entropy(p: np.ndarray) -> np.ndarray:
    return np.asarray([-sum(v * np.log(v) for v in row if v > 0) for row in p])


def open_pool(seed: int = 0) -> dict[str, Any]:
    """Two classes of interest at (-3, 0) and (3, 0), and 60 foreign items at (0, 12) where the head is most unsure."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, 2)) + np.repeat([[-3, 0], [3, 0], [0, 12]], [70, 70, 60], axis=0)
    labels = np.full(200, -1)
    labels[:10], labels[70:80] = 0, 1
    return {"embeddings": x, "head_weight": np.array([[-0.5, 0], [0.5, 0]]), "labels": labels}


def mahalanobis(pool: dict[str, Any]) -> np.ndarray:
    x, y = pool["embeddings"], pool["labels"]
    means = [x[y == c].mean(axis=0) for c in (0, 1)]
    residuals = np.concatenate([x[y == c] - means[c] for c in (0, 1)])
    covariance = residuals.T @ residuals / len(residuals)
    inverse = np.linalg.inv(covariance + 1e-6 * np.trace(covariance) / 2 * np.eye(2))
    return np.array([min(float((row - mu) @ inverse @ (row - mu)) for mu in means) for row in x])


def test_components_are_entropy_and_mahalanobis_confidence() -> None:
    pool = open_pool()
    got = pw.select("poal", batch_size=12, **pool)
    z = pool["embeddings"] @ pool["head_weight"].T
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert got.components["usefulness"] == pytest.approx(entropy(p)[got.indices])
    free = np.flatnonzero(pool["labels"] < 0)
    distance = mahalanobis(pool) / 4
    assert got.components["confidence"] == pytest.approx(distance[free].max() - distance[got.indices], rel=1e-9)


@pytest.mark.parametrize("search", ["exact", "monte_carlo"])
def test_asks_for_fewer_foreign_items_than_entropy(search: str) -> None:
    pool = open_pool()
    foreign = [int((pw.select("entropy", batch_size=20, **pool).indices >= 140).sum())]
    foreign.append(int((pw.select("poal", batch_size=20, search=search, **pool).indices >= 140).sum()))
    assert foreign[0] >= 10 and foreign[1] <= foreign[0] / 2


def test_the_batch_is_beaten_by_no_other() -> None:
    pool = open_pool()
    got = pw.select("poal", batch_size=3, unlabeled=np.arange(100, 112), **pool)
    assert got.notes["front_is_whole"]
    u = pw.select("poal", batch_size=12, unlabeled=np.arange(100, 112), **pool)
    items = list(zip(u.components["usefulness"], u.components["confidence"], strict=True))
    mine = (got.components["usefulness"].sum(), got.components["confidence"].sum())
    for subset in combinations(items, 3):
        total = np.sum(subset, axis=0)
        assert not (total[0] > mine[0] + 1e-9 and total[1] > mine[1] + 1e-9)


def test_given_scores_replace_the_distance() -> None:
    pool = open_pool()
    scores = np.r_[np.zeros(100), np.full(100, 9.0)]
    got = pw.select("poal", batch_size=10, ood_scores=scores, choice="knee", **pool)
    assert got.components["confidence"].max() == 9.0


def test_a_constant_confidence_leaves_the_most_uncertain() -> None:
    pool = open_pool()
    got = pw.select("poal", batch_size=9, ood_scores=np.ones(200), **pool).indices
    assert got.tolist() == pw.select("entropy", batch_size=9, **pool).indices.tolist()


def test_small_pools_end_although_there_are_fewer_candidates_than_asked() -> None:
    pool = open_pool()
    got = pw.select("poal", batch_size=5, unlabeled=np.arange(100, 107), search="monte_carlo", **pool)
    assert len(set(got.indices.tolist())) == 5


def test_says_what_is_missing_without_labels_or_scores() -> None:
    pool = open_pool()
    del pool["labels"]
    with pytest.raises(InputError, match="ood_scores"):
        pw.select("poal", batch_size=5, **pool)


def test_refuses_no_draws() -> None:
    with pytest.raises(OptionError, match="draws"):
        pw.select("poal", batch_size=5, draws=0, **open_pool())


def test_without_labels_all_items_may_count_as_equally_of_interest() -> None:
    pool = open_pool()
    del pool["labels"]
    got = pw.select("poal", batch_size=7, without_labels="uniform", **pool).indices
    assert got.tolist() == pw.select("entropy", batch_size=7, **pool).indices.tolist()


def test_classes_without_a_label_are_counted_in_the_notes() -> None:
    pool = open_pool()
    pool["head_weight"] = np.vstack([pool["head_weight"], [[0.0, -1.0], [0.0, -2.0]]])
    assert pw.select("poal", batch_size=5, **pool).notes["classes_without_label"] == 2


@pytest.mark.parametrize("seed", range(4))
def test_the_batch_shares_most_items_with_the_other_optimal_ones(seed: int) -> None:
    """All 220 batches of 3 out of 12; the choice of the paper among those that no other dominates."""
    rng = np.random.default_rng(seed)
    p, foreign = rng.dirichlet(np.ones(4), 12), rng.uniform(size=12)
    u, m = entropy(p), foreign.max() - foreign
    sums = {s: (u[list(s)].sum(), m[list(s)].sum()) for s in combinations(range(12), 3)}
    front = [s for s, a in sums.items() if not any(b[0] >= a[0] and b[1] >= a[1] and b != a for b in sums.values())]
    counts = np.bincount(np.concatenate(front), minlength=12)
    best = max(front, key=lambda s: (counts[list(s)].sum(), sums[s][0], [-i for i in s]))
    got = pw.select("poal", batch_size=3, probs=p, ood_scores=foreign)
    assert sorted(got.indices.tolist()) == list(best)
    assert got.notes["front_size"] == len(front)
