"""Facts particular to the partitioned, balancing and clustering samplers of the ImageNet study."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import ArrayMissingError, OptionError
from poolwise.kernels.partition import partition
from poolwise.strategies.badge_partitioned import PooledGradients
from poolwise.strategies.margin_clustering import visits, ward_clusters

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 7))
P = RNG.dirichlet(np.ones(5), size=90)
LABELED = np.arange(0, 90, 9)
LABELS = np.where(np.isin(np.arange(90), LABELED), np.arange(90) % 5, -1)


@pytest.mark.parametrize(("n_labeled", "n_free", "size", "parts"), [(10, 80, 13, 4), (0, 5, 5, 9), (3, 50, 50, 7)])
def test_parts_are_disjoint_cover_everything_and_share_the_batch(
    n_labeled: int, n_free: int, size: int, parts: int
) -> None:
    known, free = np.arange(n_labeled), 100 + np.arange(n_free)
    found = list(partition(known, free, size, parts, np.random.default_rng(1)))
    for which, whole in ((0, known), (1, free)):
        lengths = [len(part[which]) for part in found]
        assert sorted(np.concatenate([part[which] for part in found]).tolist()) == whole.tolist()
        assert max(lengths) - min(lengths) <= 1
    assert sum(part[2] for part in found) == size
    assert all(part[2] <= len(part[1]) for part in found)


def test_one_part_is_the_unpartitioned_method() -> None:
    given = {"embeddings": X, "labeled": LABELED, "batch_size": 9}
    whole = pw.select("coreset", **given)
    assert pw.select("coreset_partitioned", parts=1, **given).indices.tolist() == whole.indices.tolist()
    many = pw.select("coreset_partitioned", parts=3, **given)
    assert np.bincount(many.components["part"]).tolist() == [3, 3, 3]
    for name in ("coreset_partitioned", "badge_partitioned"):
        with pytest.raises(OptionError, match="parts must be at least 1"):
            pw.select(name, probs=P, parts=0, **given)


@pytest.mark.parametrize(("n_classes", "width"), [(5, 7), (40, 100), (3, 600)])
def test_pooled_gradient_is_the_average_of_the_explicit_one(n_classes: int, width: int) -> None:
    p, h = RNG.dirichlet(np.ones(n_classes), size=4), RNG.normal(size=(4, width))
    rows, columns = min(16, n_classes), 512 // min(16, n_classes)
    got = PooledGradients(p, h)[np.arange(4)]
    for i in range(4):
        error = p[i] - np.eye(n_classes)[p[i].argmax()]
        whole = np.outer(error, h[i])
        expected = np.empty((rows, columns))
        for u in range(rows):
            for v in range(columns):
                a, b = int(np.floor(u * n_classes / rows)), int(np.ceil((u + 1) * n_classes / rows))
                c, d = int(np.floor(v * width / columns)), int(np.ceil((v + 1) * width / columns))
                expected[u, v] = whole[a:b, c:d].mean()
        np.testing.assert_allclose(got[i], expected.ravel(), atol=1e-12)


def test_partitioned_badge_never_draws_a_copy_of_a_labeled_item_while_others_are_left() -> None:
    x, p = X.copy(), P.copy()
    x[1:9], p[1:9] = x[0], p[0]
    batch = pw.select("badge_partitioned", embeddings=x, probs=p, labeled=LABELED, batch_size=70, parts=1)
    assert not set(range(1, 9)) & set(batch.indices.tolist())


def test_each_visit_takes_the_first_left_of_its_cluster_in_order_of_size_and_number() -> None:
    group = RNG.integers(0, 6, 60)
    sizes = np.bincount(group)
    order = sorted(range(6), key=lambda g: (sizes[g], g))
    queues = {g: np.flatnonzero(group == g).tolist() for g in range(6)}
    expected: list[int] = []
    while len(expected) < 40:
        for g in order:
            if queues[g]:
                expected.append(queues[g].pop(0))
    assert visits(group, 40).tolist() == expected[:40]


def test_ward_finds_separated_groups_exactly_and_through_centres(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = np.arange(600) % 4
    x = 20 * np.eye(4)[truth] + RNG.normal(size=(600, 4))
    for limit in (5000, 100):
        monkeypatch.setattr("poolwise.strategies.margin_clustering.EXACT_ROWS", limit)
        monkeypatch.setattr("poolwise.strategies.margin_clustering.CENTRES", 30)
        found = ward_clusters(x, np.arange(600), 4, np.random.default_rng(0))
        assert len(set(zip(truth.tolist(), found.tolist(), strict=True))) == 4


def slow_balancing(x: np.ndarray, labels: np.ndarray, count: int) -> list[int]:
    """The loop of the reference with each pick counted for the class it was taken for; many stay many."""
    labeled = np.flatnonzero(labels >= 0)
    counts = np.bincount(labels[labeled]).astype(float)
    many = [c for c in range(len(counts)) if counts[c] > counts.mean()]
    few = [c for c in range(len(counts)) if c not in many]
    mean = {c: x[labeled][labels[labeled] == c].mean(axis=0) for c in range(len(counts)) if counts[c]}
    chosen: dict[int, list[int]] = {c: [] for c in few}
    level = {c: counts[c] for c in few}
    for _ in range(count):
        level[min(few, key=lambda c: (level[c], c))] += 1
    taken: list[int] = []
    for c in few:
        for _ in range(int(level[c] - counts[c])):
            rest = [i for i in np.flatnonzero(labels < 0) if i not in taken]

            def ratio(i: int, c: int = c) -> float:
                top = ((x[i] - mean[c]) ** 2).sum() if c in mean else 1.0
                return float(top / max(((x[i] - mean[m]) ** 2).sum() for m in many))

            taken.append(min(rest, key=ratio))
            chosen[c].append(taken[-1])
    return taken


def test_balancing_fills_the_small_classes_as_the_loop_does() -> None:
    labels = np.full(90, -1)
    labels[:30] = [0] * 14 + [1] * 12 + [2] * 2 + [4] * 2  # class 3 is not seen
    batch = pw.select("balancing", embeddings=X, labels=labels, batch_size=12)
    assert batch.notes["random"] == 0
    assert batch.indices.tolist() == slow_balancing(X, labels, 12)
    assert set(batch.components["aimed_at"].tolist()) == {2, 3, 4}


def test_a_balanced_pool_is_drawn_at_random_and_no_labels_are_refused() -> None:
    labels = np.where(np.arange(90) < 20, np.arange(90) % 5, -1)
    batch = pw.select("balancing", embeddings=X, labels=labels, batch_size=12)
    assert batch.notes["random"] == 12 and (batch.components["aimed_at"] == -1).all()
    with pytest.raises(ArrayMissingError, match="needs labels"):
        pw.select("balancing", embeddings=X, batch_size=3)
