"""TAILOR, SelectAL, REFINE, the budget rule and look-ahead do what their papers say."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import poolwise as pw
from poolwise.auto.tailor import beliefs, fill_slots
from poolwise.kernels.scores import margin

MEMBERS = ("entropy", "margin", "typiclust")


def pool(n_labeled: int, seed: int = 0, classes: int = 3) -> tuple[dict[str, Any], np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, 300 - classes)])
    x = (2 * rng.normal(size=(classes, 5))[y] + rng.normal(size=(300, 5))).astype(np.float32)
    head = {"head_weight": rng.normal(size=(classes, 5)).astype(np.float32), "head_bias": np.zeros(classes)}
    return {"embeddings": x, **head, "labeled": np.arange(n_labeled), "labels": y[:n_labeled]}, y


def test_an_arm_that_brings_rare_classes_gets_most_slots_by_round_five() -> None:
    rng = np.random.default_rng(0)
    names, labels, history = ("common", "rare"), np.full(2000, -1), []
    labels[:95], labels[95:100] = 0, 1  # class 1 is rare so far
    for number in range(6):
        known = labels[labels >= 0]
        value = 1 / np.maximum(1, np.bincount(known, minlength=2))
        alpha, beta = beliefs(history, names, labels, np.array([0, 1]), 0.7)
        start = 100 + 200 * number
        streams = [np.arange(start, start + 100).tolist(), np.arange(start + 100, start + 200).tolist()]
        items, arms = fill_slots(streams, alpha, beta, value, 40, rng)
        labels[items] = np.where(arms == 1, rng.random(40) < 0.5, 0)
        history.append(pw.Selection(items, None, "tailor", {}, 0, 0.0, {"arm": arms}, {"arms": list(names)}))
    assert (history[5].components["arm"] == 1).mean() > 0.6


def test_equal_arms_share_the_slots() -> None:
    streams = [list(range(k * 1000, k * 1000 + 600)) for k in range(3)]
    ones = np.ones((3, 4))
    _, arms = fill_slots(streams, ones, ones, np.ones(4), 600, np.random.default_rng(0))
    assert np.bincount(arms, minlength=3).min() > 150


def test_tailor_counts_labels_with_a_discount() -> None:
    labels = np.array([0, 1, 1, -1])
    past = [
        pw.Selection(np.array([0]), None, "tailor", {}, 0, 0.0, {"arm": np.array([0])}, {"arms": ["a", "b"]}),
        pw.Selection(
            np.array([1, 2, 3]), None, "tailor", {}, 0, 0.0, {"arm": np.array([1, 0, 0])}, {"arms": ["a", "b"]}
        ),
    ]
    alpha, beta = beliefs(past, ["a", "b"], labels, np.array([0, 1]), 0.5)
    np.testing.assert_allclose(alpha, [[0.25 + 0.5, 0.25 + 1], [0.25, 0.25 + 1]])
    np.testing.assert_allclose(beta, [[0.25 + 1, 0.25 + 0.5], [0.25 + 1, 0.25]])


def test_every_pick_of_refine_was_chosen_by_a_member_in_every_round() -> None:
    given, _ = pool(30)
    got = pw.select("refine", **given, batch_size=5, members=("margin",), n_filters=3)
    left = got.notes["left"]
    assert left[0] == 270 and all(a >= b for a, b in pairwise(left)) and left[-1] <= 60
    z = given["embeddings"] @ given["head_weight"].T
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    best = np.argsort(-margin(p)[30:])[: left[-1]] + 30
    assert set(got.indices.tolist()) <= set(best.tolist())


@pytest.mark.parametrize(
    ("n_labeled", "followed"), [(0, "maxherding"), (2, "maxherding"), (30, "uherding"), (90, "cluster_margin")]
)
def test_budget_rule_follows_labels_per_class(n_labeled: int, followed: str) -> None:
    given, _ = pool(n_labeled)
    if n_labeled == 0:
        given = {"embeddings": given["embeddings"]}
    got = pw.select("budget_rule", **given, batch_size=5)
    assert got.notes["followed"] == followed
    assert got.notes["labels_per_class"] == n_labeled / (3 if n_labeled else 1)


def test_selectal_reports_the_error_after_each_removal() -> None:
    given, _ = pool(60)
    got = pw.select("selectal", **given, batch_size=5)
    assert set(got.notes["error_without"]) == {"typiclust", "margin", "random"}
    assert all(0 <= error <= 1 for error in got.notes["error_without"].values())
    assert got.notes["followed"] in ("typiclust", "margin", "random", "uherding")
    assert pw.select("selectal", embeddings=given["embeddings"], batch_size=5).notes["followed"] == "maxherding"


def test_look_follows_the_candidate_of_least_validation_loss() -> None:
    given, _ = pool(80)
    got = pw.select("look", **given, batch_size=6, candidates=("margin", "coreset", "random"))
    losses = got.notes["validation_loss"]
    assert got.notes["followed"] == min(losses, key=losses.get)
    alone = pw.select(got.notes["followed"], **given, batch_size=6)
    if got.notes["followed"] == "margin":
        assert got.indices.tolist() == alone.indices.tolist()
