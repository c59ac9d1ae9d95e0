"""Facts about the gate: thresholds are measured out of fold, and a strategy always has a choice."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import ArrayMissingError, InputError, UnknownNameError
from poolwise.ood.gate import best_threshold, make_gate, out_of_fold

NOBODY = np.empty(0, dtype=np.int64)


def by_value(values: np.ndarray):
    return lambda items, labeled, foreign: values[items]


def test_the_threshold_separates_labeled_from_rejected_best() -> None:
    known, rejected = np.array([1.0, 2, 3, 4, 5, 9]), np.array([4.5, 6, 7, 8, 10])
    t = best_threshold(known, rejected)

    def right(t: float) -> float:
        return float((known <= t).mean() + (rejected > t).mean())

    assert right(t) == max(right(v) for v in np.linspace(0, 11, 500))
    assert t == 4.25


def test_with_few_rejected_items_nineteen_of_twenty_labeled_pass() -> None:
    known = np.arange(101.0)
    assert best_threshold(known, np.array([50.0])) == 95


def test_flagged_items_are_kept_back_and_counted() -> None:
    values = np.r_[np.zeros(10), np.linspace(0, 1, 40), np.full(50, 9.0)]
    gate = make_gate("test", by_value(values), np.arange(10, 100), np.arange(10), NOBODY, None, batch_size=1)
    assert gate.kept.tolist() == [10, 11, 12] and "least foreign" in gate.notes["gate"]
    values[:10] = 2
    gate = make_gate("test", by_value(values), np.arange(10, 100), np.arange(10), NOBODY, None, batch_size=5)
    assert gate.kept.tolist() == list(range(10, 50)) and gate.notes["flagged"] == 50 and gate.threshold == 2
    assert "gate" not in gate.notes


def test_when_every_item_is_flagged_the_least_foreign_are_offered() -> None:
    values = np.r_[np.zeros(10), np.arange(90, 0, -1)]
    gate = make_gate("test", by_value(values), np.arange(10, 100), np.arange(10), NOBODY, None, batch_size=4)
    assert gate.kept.tolist() == list(range(88, 100))
    assert gate.notes["gate"].startswith("every item was flagged")


def test_without_labels_the_gate_is_open_and_says_so() -> None:
    gate = make_gate("test", by_value(np.arange(20.0)), np.arange(20), NOBODY, NOBODY, None, batch_size=2)
    assert gate.kept.tolist() == list(range(20)) and "open" in gate.notes["gate"]
    assert gate.threshold == np.inf


def test_no_item_is_scored_by_a_detector_that_saw_it() -> None:
    labels = np.r_[np.zeros(7, dtype=np.int64), np.ones(4, dtype=np.int64), np.full(6, -1)]
    labeled, foreign = np.arange(11), np.arange(11, 17)
    asked: list[int] = []

    def score(items: np.ndarray, known: np.ndarray, rejected: np.ndarray) -> np.ndarray:
        assert not set(items.tolist()) & {*known.tolist(), *rejected.tolist()}
        assert set(labels[known].tolist()) == {0, 1}, "a fold holds a whole class"
        asked.extend(items.tolist())
        return items.astype(float)

    known, rejected = out_of_fold(score, labeled, foreign, labels)
    assert sorted(asked) == list(range(17))
    assert known.tolist() == labeled.tolist() and rejected.tolist() == foreign.tolist()


def open_pool(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.arange(300) % 3
    x = rng.normal(size=(300, 4)) + 6 * np.eye(4)[truth]
    labels = np.where((truth < 2) & (np.arange(300) < 60), truth, -1)
    return x, truth, labels


def test_a_strategy_that_takes_scores_gets_them_and_all_items() -> None:
    x, truth, labels = open_pool()
    foreign = np.flatnonzero((truth == 2) & (np.arange(300) < 60))
    arguments = {"embeddings": x, "labels": labels, "head_weight": np.eye(4)[:2], "foreign": foreign}
    got = pw.select("poal", batch_size=20, ood="answers", **arguments)
    assert "ood_score" in got.components
    everything = pw.select("poal", batch_size=240, ood="answers", **arguments)
    assert len(everything) == 240
    assert everything.components["confidence"].min() == 0


def test_rejected_items_are_never_chosen_and_never_labeled() -> None:
    x, truth, labels = open_pool()
    foreign = np.flatnonzero(truth == 2)
    got = pw.select("random", batch_size=140, embeddings=x, labels=labels, foreign=foreign).indices
    assert not np.isin(got, foreign).any()
    with pytest.raises(InputError, match="foreign"):
        pw.select("random", batch_size=5, embeddings=x, labels=labels, foreign=[0])
    with pytest.raises(InputError, match="foreign"):
        pw.select("random", batch_size=1, embeddings=x, labels=labels, foreign=foreign, unlabeled=foreign[:3])


def test_an_unknown_detector_and_a_missing_array_are_named() -> None:
    x, _, labels = open_pool()
    with pytest.raises(UnknownNameError, match="mahalanobis"):
        pw.select("random", batch_size=5, embeddings=x, labels=labels, ood="mahalanobi")
    with pytest.raises(ArrayMissingError, match="detector 'energy' needs logits"):
        pw.select("random", batch_size=5, embeddings=x, labels=labels, ood="energy")
