"""AutoAL as a strategy: whom it asks, how often, and that every switch does something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import poolwise as pw
from poolwise.auto import nominations
from poolwise.errors import OptionError
from poolwise.registry import STRATEGIES, acquisition
from poolwise.types import Array

N, L = 240, 60
SMALL = ("margin", "entropy", "coreset", "random")


def pool(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, N)
    x = (1.5 * rng.normal(size=(4, 6))[y] + rng.normal(size=(N, 6))).astype(np.float32)
    weight = rng.normal(size=(4, 6)).astype(np.float32)
    return {
        "embeddings": x,
        "head_weight": weight,
        "head_bias": np.zeros(4, dtype=np.float32),
        "labeled": np.arange(L),
        "labels": y[:L],
    }


def ask(given: dict[str, Any], name: str = "autoal", batch_size: int = 12, **options: Any) -> pw.Selection:
    return pw.select(name, batch_size=batch_size, **given, **options)


PLAIN = {"candidates": SMALL, "diverse": False, "shrink": 0.0}


@pytest.mark.parametrize(
    "changed",
    [
        {"utility": "loss"},
        {"utility": "none"},
        {"weights": "items"},
        {"shrink": 1e9},
        {"diverse": True},
        {"explore": 0.5},
        {"steps": 1},
        {"splits": 1},
    ],
    ids=str,
)
def test_every_switch_changes_the_selection(changed: dict[str, Any]) -> None:
    differs = [
        set(ask(pool(seed), **PLAIN).indices.tolist()) != set(ask(pool(seed), **(PLAIN | changed)).indices.tolist())
        for seed in range(4)
    ]
    assert any(differs)


@pytest.mark.parametrize("name", ["autoal", "ensemble"])
def test_one_candidate_alone_is_followed(name: str) -> None:
    given = pool()
    expected = ask(given, "margin").indices.tolist()
    for diverse in (True, False):
        assert ask(given, name, candidates=("margin",), diverse=diverse).indices.tolist() == expected


@pytest.mark.parametrize("name", ["autoal", "ensemble"])
def test_an_equal_candidate_changes_nothing(name: str) -> None:
    given = pool()
    two_classes = given | {"head_weight": given["head_weight"][:2], "head_bias": given["head_bias"][:2]}
    once = ask(two_classes, name, candidates=("margin", "coreset"))
    twice = ask(two_classes, name, candidates=("margin", "least_confidence", "coreset"))
    assert once.indices.tolist() == twice.indices.tolist()
    assert "least_confidence = margin" in twice.notes["merged"]


def test_candidates_that_cannot_run_are_left_out_with_a_note() -> None:
    given = {key: value for key, value in pool().items() if not key.startswith("head")}
    got = ask(given, candidates=("margin", "coreset"))
    assert "margin" in got.notes["left_out"] and got.notes["candidates"] == "coreset"
    alone = pw.select("autoal", embeddings=given["embeddings"], batch_size=5, candidates=("margin",))
    assert alone.notes["candidates"] == "random"


def test_a_choice_among_strategies_is_no_candidate() -> None:
    for name in ("autoal", "look"):
        with pytest.raises(OptionError, match="candidate"):
            ask(pool(), candidates=(name,))
    with pytest.raises(OptionError, match="explore"):
        ask(pool(), explore=1.0)


def test_each_candidate_runs_once_on_the_pool_and_once_per_split(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int]] = []
    run = nominations.run_strategy

    def counted(spec: Any, context: Any, **given: Any) -> pw.Selection:
        calls.append((spec.name, len(context.unlabeled)))
        return run(spec, context, **given)

    monkeypatch.setattr(nominations, "run_strategy", counted)
    given = pool()
    before = {key: value.copy() for key, value in given.items()}
    ask(given, **PLAIN, splits=3)
    for name in SMALL:
        sizes = [n for called, n in calls if called == name]
        assert sizes.count(N - L) == 1 and len(sizes) == 4
    for key, value in before.items():
        assert np.array_equal(value, given[key])


@pytest.mark.parametrize("n_candidates", [1, 2, 20])
def test_any_number_of_candidates_on_tiny_labeled_sets(n_candidates: int) -> None:
    names = tuple(
        n for n in STRATEGIES.names() if STRATEGIES[n].family not in ("selector", "auto") and not STRATEGIES[n].oracle
    )[:n_candidates]
    given = pool()
    for n_labeled in (0, 1, 3, 14):
        some = given | {"labeled": np.arange(n_labeled), "labels": given["labels"][:n_labeled]}
        got = ask(some, candidates=names, batch_size=9)
        assert len(set(got.indices.tolist())) == 9
        assert got.indices.min() >= n_labeled


def test_items_are_joined_by_index_whatever_their_order_in_the_nominations() -> None:
    found = nominations.Nominations(("a", "b"), np.array([3, 8, 20]), np.array([[1.0, 0], [0.5, 1], [0, 0.5]]))
    assert found.at(np.array([20, 5, 3, 99])).tolist() == [[0, 0.5], [0, 0], [1, 0], [0, 0]]
    assert found.stream(1).tolist() == [8, 20]


def test_grades_depend_on_the_order_of_scores_only() -> None:
    given = pool()
    logits = given["embeddings"] @ given["head_weight"].T
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    state = (np.arange(L), np.arange(L, N), None)
    one = nominations.nominate(nominations.situation(*state, probs=p.astype(np.float32)), ("least_confidence",), 12, 0)
    best = np.argsort(p[L:].max(axis=1), kind="stable")[:12] + L
    assert one.stream(0).tolist() == best.tolist()
    assert sorted(one.grades[:, 0].tolist()) == pytest.approx(np.linspace(0.5, 1, 12).tolist())


def scored_by(name: str, changed: Callable[[Any], Any]) -> None:
    """Register an acquisition: the second largest probability, changed."""

    @acquisition(name, family="test", paper="none")
    def scores(probs: Array) -> Array:
        """Second largest probability, changed."""
        return np.asarray(changed(np.sort(probs.astype(np.float64), axis=1)[:, -2]))


@pytest.mark.parametrize("name", ["autoal", "ensemble"])
def test_an_increasing_transform_of_raw_scores_changes_nothing(name: str) -> None:
    """Two candidates that score alike but for a cube and a factor."""
    batches = []
    for label, changed in (("plain", lambda s: s), ("cubed", lambda s: 1e3 * s**3 - 7)):
        scored_by(f"test_{label}", changed)
        try:
            got = ask(pool(), name, candidates=("margin", f"test_{label}", "coreset"))
        finally:
            STRATEGIES._entries.pop(f"test_{label}")
        assert len(got.notes["candidates"].split(", ")) == 3
        batches.append(got.indices.tolist())
    assert batches[0] == batches[1]


@pytest.mark.parametrize("combine", ["ranks", "votes", "any", "one"])
def test_an_ensemble_takes_nominated_items_only(combine: str) -> None:
    given = pool()
    union = {i for name in SMALL for i in ask(given, name).indices.tolist() if name != "random"}
    got = ask(given, "ensemble", candidates=SMALL[:3], combine=combine)
    assert set(got.indices.tolist()) <= union
    if combine == "votes":
        votes = ask(given, "ensemble", candidates=SMALL[:3], combine=combine, diverse=False).components["votes"]
        assert (np.diff(votes) <= 0).all()
