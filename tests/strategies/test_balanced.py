"""Facts particular to the balanced strategy."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import OptionError, ShapeError

RNG = np.random.default_rng(0)


def long_tail(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Twelve classes of 300 to 8 items, embeddings, probabilities of a fair head, true classes, 40 labeled items."""
    rng = np.random.default_rng(seed)
    sizes = np.round(300 * (8 / 300) ** (np.arange(12) / 11)).astype(int)
    truth = rng.permutation(np.repeat(np.arange(12), sizes))
    centres = rng.normal(size=(12, 10)) * 2
    x = centres[truth] + rng.normal(size=(len(truth), 10))
    labeled = rng.permutation(len(truth))[:40]
    seen = np.unique(truth[labeled])
    z = np.full((len(truth), 12), -50.0)
    z[:, seen] = -0.5 * ((x[:, None] - centres[None, seen]) ** 2).sum(axis=2)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return x, p / p.sum(axis=1, keepdims=True), truth, labeled


def slow(
    x: np.ndarray, p: np.ndarray, labels: np.ndarray, count: int, a: float, b: float, neighbors: int = 5
) -> list[int]:
    """The rule, item by item; one cluster holds all items."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    known = [int(i) for i in np.flatnonzero(labels >= 0)]
    n = np.bincount(labels[known], minlength=p.shape[1]).astype(float)
    typical = {}
    for i in range(len(x)):
        others = sorted(float(((unit[i] - unit[j]) ** 2).sum()) for j in range(len(x)) if j != i)[:neighbors]
        typical[i] = 1 - np.mean(others) / 2
    chosen: list[int] = []
    for _ in range(count):
        value = {}
        for i in range(len(x)):
            if i not in known and i not in chosen:
                far = min((1 - unit[i] @ unit[j] for j in known + chosen), default=2.0)
                value[i] = far * typical[i] ** a * sum(p[i, c] / (1 + n[c]) for c in range(len(n))) ** b
        chosen.append(max(value, key=lambda i: value[i]))
        n += p[chosen[-1]]
    return chosen


@pytest.mark.parametrize(("a", "b"), [(0.5, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_picks_equal_the_rule_written_item_by_item(a: float, b: float) -> None:
    x, p = RNG.normal(size=(60, 4)) + 2, RNG.dirichlet(np.ones(3), size=60)
    labels = np.where(np.arange(60) < 6, np.arange(60) % 2, -1)
    batch = pw.select("balanced", embeddings=x, probs=p, labels=labels, batch_size=8, typicality=a, scarcity=b)
    assert batch.indices.tolist() == slow(x, p, labels, 8, a, b)
    parts = [batch.components[name] for name in ("distance", "typicality", "scarcity")]
    np.testing.assert_allclose(batch.scores, np.prod(parts, axis=0), rtol=1e-6)


def test_labels_become_more_even_than_at_random_and_more_classes_are_seen() -> None:
    spread, seen = {"balanced": [], "random": []}, {"balanced": [], "random": []}
    for seed in range(6):
        x, p, truth, labeled = long_tail(seed)
        labels = np.where(np.isin(np.arange(len(truth)), labeled), truth, -1)
        for name in spread:
            batch = pw.select(name, embeddings=x, probs=p, labels=labels, batch_size=40, seed=seed)
            counts = np.bincount(truth[np.concatenate([labeled, batch.indices])], minlength=12)
            spread[name].append(counts.std() / counts.mean())
            seen[name].append((counts > 0).sum())
    assert np.mean(spread["balanced"]) < 0.75 * np.mean(spread["random"])
    assert np.mean(seen["balanced"]) >= np.mean(seen["random"])


def test_numbering_of_classes_does_not_matter() -> None:
    x, p, truth, labeled = long_tail(1)
    labels = np.where(np.isin(np.arange(len(truth)), labeled), truth, -1)
    batch = pw.select("balanced", embeddings=x, probs=p, labels=labels, batch_size=20)
    order = np.random.default_rng(0).permutation(12)
    renamed = np.where(labels >= 0, np.argsort(order)[labels], -1)
    again = pw.select("balanced", embeddings=x, probs=p[:, order], labels=renamed, batch_size=20)
    assert again.indices.tolist() == batch.indices.tolist()


def test_copies_of_a_pick_wait_until_nothing_else_is_left() -> None:
    x, p = RNG.normal(size=(40, 4)) + 1, RNG.dirichlet(np.ones(3), size=40)
    x[1:10] = x[0]
    p[1:10] = p[0]
    batch = pw.select("balanced", embeddings=x, probs=p, labels=np.full(40, -1), batch_size=31)
    assert len(set(batch.indices.tolist()) & set(range(10))) == 1


def test_what_does_not_fit_is_refused() -> None:
    x, p = RNG.normal(size=(10, 4)), RNG.dirichlet(np.ones(3), size=10)
    with pytest.raises(OptionError, match="at least 0"):
        pw.select("balanced", embeddings=x, probs=p, batch_size=2, labels=np.full(10, -1), scarcity=-1.0)
    with pytest.raises(ShapeError, match="labels go up to class 7"):
        pw.select("balanced", embeddings=x, probs=p, batch_size=2, labels=np.array([7] + [-1] * 9))
