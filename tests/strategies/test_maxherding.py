"""Facts particular to MaxHerding."""

from __future__ import annotations

import numpy as np

import poolwise as pw


def mixture(seed: int = 0) -> np.ndarray:
    """Unequal clusters with 5 % outliers, 1200 rows."""
    rng = np.random.default_rng(seed)
    sizes = (1 / np.arange(1, 31)) / (1 / np.arange(1, 31)).sum()
    which = rng.choice(30, size=1140, p=sizes)
    centres = rng.normal(size=(30, 12))
    return np.concatenate([centres[which] + 0.2 * rng.normal(size=(1140, 12)), rng.normal(size=(60, 12))])


def coverage(x: np.ndarray, chosen: np.ndarray) -> float:
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    d2 = ((x[:, None] - x[chosen]) ** 2).sum(axis=2)
    return float(np.exp(-d2).max(axis=1).mean())


def wrong_axis(x: np.ndarray, count: int) -> np.ndarray:
    """The slip of subtracting the candidate's own similarity instead of the covered item's."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    similarity = np.exp(-((x[:, None] - x[None]) ** 2).sum(axis=2))
    held = np.zeros(len(x))
    chosen: list[int] = []
    for _ in range(count):
        gains = np.maximum(similarity - held[:, None], 0).mean(axis=1)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        held = np.maximum(held, similarity[chosen[-1]])
    return np.array(chosen)


def test_covers_better_than_random_and_than_the_wrong_subtraction() -> None:
    x = mixture()
    batch = pw.select("maxherding", embeddings=x, batch_size=15)
    random = [coverage(x, np.random.default_rng(s).choice(len(x), 15, replace=False)) for s in range(20)]
    achieved = coverage(x, batch.indices)
    assert achieved > np.mean(random)
    assert achieved >= coverage(x, wrong_axis(x, 15))
    np.testing.assert_allclose(batch.notes["coverage"], achieved, rtol=1e-4)
    np.testing.assert_allclose(np.sum(batch.scores), achieved, rtol=1e-4)


def test_a_reference_sample_covers_almost_as_well() -> None:
    x = mixture()
    whole = pw.select("maxherding", embeddings=x, batch_size=15)
    sampled = pw.select("maxherding", embeddings=x, batch_size=15, reference=300)
    assert coverage(x, sampled.indices) > 0.97 * coverage(x, whole.indices)
    assert "warning" not in sampled.notes
    assert "warning" in pw.select("maxherding", embeddings=x, batch_size=15, reference=100).notes


def test_equals_probcover_in_the_limit_of_tight_balls() -> None:
    angles = np.repeat([0.0, 1.0, 2.0, 3.0], [4, 7, 2, 5])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    soft = pw.select("maxherding", embeddings=x, batch_size=4, sigma=0.01)
    hard = pw.select("probcover", embeddings=x, batch_size=4, radius=0.1)
    assert soft.indices.tolist() == hard.indices.tolist()
