"""Facts particular to the balanced strategy."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import OptionError, ShapeError
from poolwise.strategies.balanced import pool_shares, priority_sample, trust, unevenness, unseen_share

RNG = np.random.default_rng(0)


def pool(sizes: np.ndarray, seed: int, n_labeled: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Classes of given sizes around random centres: embeddings, fair probabilities, true classes, labels."""
    rng = np.random.default_rng(seed)
    n_classes = len(sizes)
    truth = rng.permutation(np.repeat(np.arange(n_classes), sizes))
    centres = rng.normal(size=(n_classes, 10)) * 1.5
    x = centres[truth] + rng.normal(size=(len(truth), 10))
    z = -0.5 * ((x[:, None] - centres[None]) ** 2).sum(axis=2) + np.log(sizes)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    labels = np.full(len(truth), -1)
    labeled = rng.permutation(len(truth))[:n_labeled]
    labels[labeled] = truth[labeled]
    return x, p / p.sum(axis=1, keepdims=True), truth, labels


def long_tail(seed: int, n_labeled: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return pool(np.round(300 * (8 / 300) ** (np.arange(12) / 11)).astype(int), seed, n_labeled)


def slow_trust(p: np.ndarray, labels: np.ndarray) -> float:
    """One minus what chance explains of how much the classes of all items differ, item by item."""
    n_classes = p.shape[1]
    share = np.zeros(n_classes)
    for i, label in enumerate(labels):
        share += np.eye(n_classes)[label] if label >= 0 else p[i]
    share /= len(labels)
    spread = np.var(share) / np.mean(share) ** 2
    chance = n_classes / (labels >= 0).sum() + n_classes / (labels < 0).sum()
    return max(0.0, 1 - chance / spread)


def slow(x: np.ndarray, p: np.ndarray, labels: np.ndarray, count: int, sigma: float) -> list[int]:
    """The rule, item by item, for pools of which all items compete."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    known, free = [list(np.flatnonzero(labels >= 0)), list(np.flatnonzero(labels < 0))]
    n = [float((labels == c).sum()) for c in range(p.shape[1])]
    v = slow_trust(p, labels)
    u = sum(k == 1 for k in n) / len(known) if 0 in n else 0.0
    worth = {}
    for i in free:
        low, high = sorted(p[i])[-2:]
        need = u + (1 - u) * sum(p[i, c] / (1 + np.mean(n) + v * (n[c] - np.mean(n))) for c in range(len(n)))
        worth[i] = (1 - high + low) * need
    near = np.exp(-((unit[:, None] - unit[None]) ** 2).sum(axis=2) / sigma**2)
    chosen: list[int] = []
    for _ in range(count):
        gain = {}
        for i in free:
            if i not in chosen:
                gain[i] = sum(
                    worth[j] * max(0.0, near[i, j] - max(near[k, j] for k in [*known, *chosen])) for j in free
                )
        chosen.append(max(gain, key=lambda i: gain[i]))
    return chosen


@pytest.mark.parametrize("seed", range(3))
def test_picks_equal_the_rule_written_item_by_item(seed: int) -> None:
    sizes = np.array([40, 12, 5, 3])
    x, p, _, labels = pool(sizes, seed, 25)
    assert slow_trust(p, labels) > 0.2
    batch = pw.select("balanced", embeddings=x, probs=p, labels=labels, batch_size=6, sigma=0.7)
    assert batch.indices.tolist() == slow(x, p, labels, 6, 0.7)
    assert batch.notes["leveling"] == pytest.approx(slow_trust(p, labels))


def test_an_even_pool_gets_plain_uncertainty_herding() -> None:
    x, p, _, labels = pool(np.full(10, 60), 0, 80)
    batch = pw.select("balanced", embeddings=x, probs=p, labels=labels, batch_size=30)
    plain = pw.select("uherding", embeddings=x, probs=p, labels=labels, batch_size=30)
    assert batch.notes["leveling"] == 0
    assert batch.indices.tolist() == plain.indices.tolist()


def test_uneven_labels_alone_do_not_make_it_level() -> None:
    """Labels of an even pool may be uneven because they were chosen where the model errs."""
    x, p, truth, labels = pool(np.full(10, 60), 0, 80)
    labels[np.flatnonzero(truth == 3)[:40]] = 3
    assert np.bincount(labels[labels >= 0]).max() >= 40
    assert pw.select("balanced", embeddings=x, probs=p, labels=labels, batch_size=5).notes["leveling"] == 0


@pytest.mark.parametrize("chosen", ["at random", "evenly"])
def test_shares_of_a_long_tailed_pool_are_found_however_the_labels_were_chosen(chosen: str) -> None:
    _, p, truth, labels = long_tail(0, 100)
    if chosen == "evenly":
        labels[:] = -1
        for c in range(12):
            labels[np.flatnonzero(truth == c)[:6]] = c
    counts = np.bincount(labels[labels >= 0], minlength=12).astype(float)
    free = np.flatnonzero(labels < 0)
    shares = pool_shares(p, free, len(free), counts)
    true = np.bincount(truth, minlength=12) / len(truth)
    assert shares.sum() == pytest.approx(1)
    assert np.abs(shares - true).max() < 0.02
    assert unevenness(shares) == pytest.approx(np.var(true) / np.mean(true) ** 2, rel=0.15)
    some = np.sort(np.random.default_rng(1).permutation(free)[:400])
    assert np.abs(pool_shares(p, some, len(free), counts) - true).max() < 0.05


def test_chance_alone_is_rarely_trusted_and_a_long_tail_is() -> None:
    rng = np.random.default_rng(3)
    even, tail = [], []
    for _ in range(300):
        even.append(trust(unevenness(rng.multinomial(100, np.full(10, 0.1)) / 100), 10, 100, 10**6))
        tail.append(
            trust(unevenness(rng.multinomial(100, 0.7 ** np.arange(10) / (0.7 ** np.arange(10)).sum())), 10, 100, 10**6)
        )
    assert np.median(even) < 0.15 and np.mean(even) < 0.2
    assert np.min(tail) > 0.7
    assert trust(0.0, 10, 100, 1000) == 0 and trust(5.0, 10, 0, 1000) == 0


def test_the_share_of_unseen_classes_is_that_of_single_labels_until_all_are_seen() -> None:
    assert unseen_share(np.array([1.0, 1, 2, 0])) == pytest.approx(2 / 4)
    assert unseen_share(np.array([1.0, 1, 2, 1])) == 0
    assert unseen_share(np.zeros(4)) == 0


def test_labels_become_more_even_than_at_random_and_by_plain_herding() -> None:
    spread: dict[str, list[float]] = {"balanced": [], "uherding": [], "random": []}
    for seed in range(6):
        x, p, truth, labels = long_tail(seed)
        for name, found in spread.items():
            batch = pw.select(name, embeddings=x, probs=p, labels=labels, batch_size=40, seed=seed)
            counts = np.bincount(truth[np.append(np.flatnonzero(labels >= 0), batch.indices)], minlength=12)
            found.append(counts.std() / counts.mean())
    assert np.mean(spread["balanced"]) < 0.85 * np.mean(spread["random"])
    assert np.mean(spread["balanced"]) < 0.95 * np.mean(spread["uherding"])


def test_numbering_of_classes_does_not_matter() -> None:
    x, p, _, labels = long_tail(1)
    batch = pw.select("balanced", embeddings=x, probs=p, labels=labels, batch_size=20)
    order = np.random.default_rng(0).permutation(12)
    renamed = np.where(labels >= 0, np.argsort(order)[labels], -1)
    again = pw.select("balanced", embeddings=x, probs=p[:, order], labels=renamed, batch_size=20)
    assert again.indices.tolist() == batch.indices.tolist()
    assert order[again.components["predicted"]].tolist() == batch.components["predicted"].tolist()


def test_without_labels_it_covers_the_pool() -> None:
    x, p = RNG.normal(size=(80, 4)), RNG.dirichlet(np.ones(3), size=80)
    batch = pw.select("balanced", embeddings=x, probs=p, labels=np.full(80, -1), batch_size=10)
    assert batch.indices.tolist() == pw.select("maxherding", embeddings=x, batch_size=10).indices.tolist()


def test_one_class_more_classes_than_items_and_a_head_without_doubt_are_no_trouble() -> None:
    x = RNG.normal(size=(30, 4))
    labels = np.where(np.arange(30) < 4, 0, -1)
    for p in (np.ones((30, 1)), np.eye(500)[np.zeros(30, dtype=int)], RNG.dirichlet(np.ones(500), size=30)):
        batch = pw.select("balanced", embeddings=x, probs=p, labels=labels, batch_size=26)
        assert sorted(batch.indices.tolist()) == list(range(4, 30))
        assert np.isfinite(batch.scores).all()


def test_a_priority_sample_estimates_sums_without_bias() -> None:
    weights, value = RNG.random(400) ** 3 + 1e-3, RNG.normal(size=400) + 2
    found = []
    for seed in range(400):
        at, estimated = priority_sample(weights, 60, np.random.default_rng(seed))
        assert len(set(at.tolist())) == 60
        found.append(estimated @ value[at])
    assert abs(np.mean(found) - weights @ value) < 4 * np.std(found) / 20
    at, same = priority_sample(weights, 400, np.random.default_rng(0))
    assert at.tolist() == list(range(400)) and same is weights


def test_large_pools_are_sampled_and_the_batch_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poolwise.strategies.balanced.EXACT_REFERENCE", 100)
    monkeypatch.setattr("poolwise.strategies.balanced.SHARE_ROWS", 150)
    x, p, _, labels = long_tail(2)
    for batch_size, compared in ((10, 100), (60, 300), (len(x) - 60, len(x) - 60)):
        batch = pw.select("balanced", embeddings=x, probs=p, labels=labels, batch_size=batch_size)
        assert batch.notes["compared"] == compared and len(set(batch.indices.tolist())) == batch_size


def test_what_does_not_fit_is_refused() -> None:
    x, p = RNG.normal(size=(10, 4)), RNG.dirichlet(np.ones(3), size=10)
    for options in ({"leveling": -0.1}, {"leveling": 1.5}, {"sigma": 0.0}, {"sigma": float("nan")}):
        with pytest.raises(OptionError, match=f"balanced: {next(iter(options))} must be"):
            pw.select("balanced", embeddings=x, probs=p, batch_size=2, labels=np.full(10, -1), **options)
    with pytest.raises(ShapeError, match="labels go up to class 7"):
        pw.select("balanced", embeddings=x, probs=p, batch_size=2, labels=np.array([7] + [-1] * 9))
