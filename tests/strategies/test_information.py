"""Facts particular to EPIG and BatchBALD, against joint tables built cell by cell."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import OptionError
from poolwise.kernels.information import bucketed, expected_information, greedy_joint_information
from poolwise.kernels.samples import mutual_information

RNG = np.random.default_rng(0)
P = RNG.dirichlet(np.ones(3) * 0.5, size=(12, 6))  # (N, S, C)


def h(values: np.ndarray) -> float:
    values = values[values > 0]
    return float(-(values * np.log(values)).sum())


def slow_epig(row: np.ndarray, targets: np.ndarray) -> float:
    total = 0.0
    for target in targets:
        joint = sum(np.outer(a, b) for a, b in zip(row, target, strict=True)) / len(row)
        total += h(joint.sum(axis=1)) + h(joint.sum(axis=0)) - h(joint.ravel())
    return total / len(targets)


def slow_joint(rows: list[np.ndarray]) -> float:
    """Mutual information of the labels of some rows and the model, from all configurations."""
    entropy, n_samples = 0.0, len(rows[0])
    for labels in itertools.product(*(range(r.shape[1]) for r in rows)):
        p = np.mean([np.prod([r[s, y] for r, y in zip(rows, labels, strict=True)]) for s in range(n_samples)])
        entropy -= p * np.log(p) if p > 0 else 0
    return entropy - sum(np.mean([h(r[s]) for s in range(n_samples)]) for r in rows)


def test_epig_equals_the_joint_tables_and_stays_below_bald() -> None:
    got = expected_information(P, P[:5])
    np.testing.assert_allclose(got, [slow_epig(row, P[:5]) for row in P], atol=1e-12)
    assert (got <= mutual_information(P) + 1e-12).all()
    batch = pw.select("epig", prob_samples=P, batch_size=12, targets=12, stochastic="none")
    np.testing.assert_allclose(batch.scores, [slow_epig(P[i], P) for i in batch.indices], rtol=1e-6)


def test_epig_ignores_items_that_cannot_change_the_targets_and_bald_does_not() -> None:
    p = np.full((40, 8, 2), 0.5)
    vote = RNG.random((2, 8)) < 0.5
    p[:20, :, 0] = np.where(vote[0], 0.8, 0.2)  # what is asked about: models disagree, all items together
    p[20:, :, 0] = np.where(np.arange(8) % 2, 0.99, 0.01)  # elsewhere they disagree more
    p[:20, :, 0] = np.where(np.arange(8) // 2 % 2, 0.8, 0.2)
    p[..., 1] = 1 - p[..., 0]
    options = {"prob_samples": p, "batch_size": 5, "stochastic": "none"}
    assert (pw.select("bald", **options).indices >= 20).all()
    assert (pw.select("epig", target_items=tuple(range(20)), **options).indices < 20).all()


def test_the_rest_of_the_classes_becomes_one() -> None:
    wide = RNG.dirichlet(np.ones(10), size=(4, 5))
    small = bucketed(wide, 3)
    assert small.shape == (4, 5, 4)
    np.testing.assert_allclose(small.sum(axis=2), 1)
    top = np.argsort(-wide[2].mean(axis=0))[:3]
    np.testing.assert_allclose(small[2, :, :3], wide[2][:, top])
    assert bucketed(wide, 9).shape == (4, 5, 10)


def test_batchbald_equals_brute_force_and_begins_with_bald() -> None:
    at, gains = greedy_joint_information(P, 3, 10_000, np.random.default_rng(0))
    chosen: list[int] = []
    for rank in range(3):
        values = {i: slow_joint([*(P[j] for j in chosen), P[i]]) for i in range(12) if i not in chosen}
        best = max(values, key=lambda i: values[i])
        assert at[rank] == best
        chosen.append(best)
        assert gains[: rank + 1].sum() == pytest.approx(values[best])
    assert at[0] == mutual_information(P).argmax()
    batch = pw.select("batchbald", prob_samples=P, batch_size=3, configurations=10_000)
    assert batch.indices.tolist() == at.tolist()


def test_sampled_configurations_estimate_the_same_information() -> None:
    exact = greedy_joint_information(P, 4, 10_000, np.random.default_rng(0))[1].sum()
    sampled = greedy_joint_information(P, 4, 3000, np.random.default_rng(0))[1].sum()
    rough = greedy_joint_information(P, 4, 60, np.random.default_rng(0))[1].sum()  # lists 27, then samples 60
    assert sampled == pytest.approx(exact)
    assert rough == pytest.approx(exact, rel=0.1)


def test_a_copy_of_a_pick_adds_little_when_the_label_settles_the_model() -> None:
    sure = np.eye(2)[RNG.integers(0, 2, size=(1, 20))]  # (1, S, 2), every model is certain
    rows = np.concatenate([sure, sure, RNG.dirichlet(np.ones(2) * 0.3, size=(1, 20))])
    at, gains = greedy_joint_information(rows, 3, 1000, np.random.default_rng(0))
    assert at[0] == 0 and at[1] == 2 and at[2] == 1
    assert gains[2] == pytest.approx(0, abs=1e-9)


def test_batches_beyond_fifty_go_on_with_bald() -> None:
    many = RNG.dirichlet(np.ones(2), size=(80, 3))
    batch = pw.select("batchbald", prob_samples=many, batch_size=60, configurations=50)
    assert batch.components["joint"].sum() == 50 and batch.notes["joint_picks"] == 50
    rest = np.setdiff1d(np.arange(80), batch.indices[:50])
    bald = mutual_information(many)
    assert batch.indices[50:].tolist() == rest[np.argsort(-bald[rest], kind="stable")][:10].tolist()
    with pytest.raises(OptionError, match="at least 1"):
        pw.select("batchbald", prob_samples=many, batch_size=2, shortlist=0)
