"""Every choice among strategies, and `auto`, on what nobody would give them on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import poolwise as pw
from poolwise.auto import nominations
from poolwise.errors import BudgetError, InputError, MissingExtraError, OptionError, PoolwiseError, UnknownNameError
from poolwise.registry import STRATEGIES

N, L, C = 60, 20, 3
CHOICES = [name for name in STRATEGIES.names() if STRATEGIES[name].family in ("auto", "selector")]
ASKING = [name for name in CHOICES if "candidates" in STRATEGIES[name].options]


def pool(classes: int = C, n: int = N, width: int = 5) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n)])[:n]
    x = (2 * rng.normal(size=(classes, width))[y] + rng.normal(size=(n, width))).astype(np.float32)
    head = {"head_weight": rng.normal(size=(classes, width)).astype(np.float32), "head_bias": np.zeros(classes)}
    return {"embeddings": x, **head, "labeled": np.arange(min(L, n)), "labels": y[: min(L, n)]}


def without(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}


GIVEN = pool()
X, HEAD = GIVEN["embeddings"], ("head_weight", "head_bias")
CASES: dict[str, dict[str, Any]] = {
    "no labels, no model": {"embeddings": X},
    "no labels but a model": without(GIVEN, "labeled", "labels"),
    "one label": GIVEN | {"labeled": [0], "labels": [1]},
    "one class so far": GIVEN | {"labels": np.zeros(L, dtype=int)},
    "one class and no model": without(GIVEN, *HEAD) | {"labels": np.zeros(L, dtype=int)},
    "labeled but labels unknown": without(GIVEN, "labels"),
    "no model": without(GIVEN, *HEAD),
    "fewer labels than classes": GIVEN | {"labeled": [0, 1], "labels": GIVEN["labels"][:2]},
    "identical rows": GIVEN | {"embeddings": np.ones_like(X)},
    "rows of zeros": GIVEN | {"embeddings": np.zeros_like(X)},
    "a huge offset": GIVEN | {"embeddings": X + 1e4},
    "float16 near its end": GIVEN | {"embeddings": (6000 * X).astype(np.float16)},
    "one column": GIVEN | {"embeddings": X[:, :1], "head_weight": GIVEN["head_weight"][:, :1]},
    "certain probabilities": GIVEN | {"head_weight": 1e4 * GIVEN["head_weight"]},
    "equal probabilities": without(GIVEN, *HEAD) | {"probs": np.full((N, C), 1 / C, dtype=np.float32)},
    "two classes": pool(classes=2),
    "more classes than labels": pool(classes=50),
    "two items": pool(n=2) | {"labeled": [0], "labels": [0]},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", CHOICES)
def test_a_full_batch_of_distinct_free_items_comes_from(name: str, case: str) -> None:
    given = CASES[case]
    labeled = set(np.asarray(given.get("labeled", [])).tolist())
    free = len(given["embeddings"]) - len(labeled)
    for size in {1, min(7, free), free}:
        got = pw.select(name, batch_size=size, **given)
        assert len(set(got.indices.tolist())) == size and not labeled & set(got.indices.tolist())
        assert got.scores is None or np.isfinite(got.scores).all()


@pytest.mark.parametrize("name", CHOICES)
def test_what_cannot_be_done_is_refused_in_words(name: str) -> None:
    for size in (0, N - L + 1):
        with pytest.raises(BudgetError, match="between 1 and 40"):
            pw.select(name, batch_size=size, **GIVEN)
    broken = X.copy()
    broken[30, 2] = np.nan
    with pytest.raises(InputError, match=r"finite|NaN|nan"):
        pw.select(name, batch_size=5, **(GIVEN | {"embeddings": broken}))


@pytest.mark.parametrize("name", ASKING)
def test_candidates_must_be_strategies_that_choose_items_themselves(name: str) -> None:
    with pytest.raises(UnknownNameError, match="margin"):
        pw.select(name, batch_size=5, candidates=("margni",), **GIVEN)
    for wrong in (name, "balanced_random"):
        with pytest.raises(OptionError, match="candidate"):
            pw.select(name, batch_size=5, candidates=(wrong,), **GIVEN)


@pytest.mark.parametrize("name", ASKING)
def test_repeated_absent_and_all_candidates_are_taken_as_they_come(name: str) -> None:
    once = pw.select(name, batch_size=5, candidates=("margin", "coreset"), **GIVEN)
    twice = pw.select(name, batch_size=5, candidates=("margin", "coreset", "margin"), **GIVEN)
    assert once.indices.tolist() == twice.indices.tolist()
    blind = without(GIVEN, *HEAD)
    for none in ((), ("margin", "badge")):
        got = pw.select(name, batch_size=5, candidates=none, **blind)
        assert got.notes["candidates"] == "random" and len(set(got.indices.tolist())) == 5
        assert ("badge" in got.notes.get("left_out", "")) == bool(none)


def test_every_strategy_there_is_may_be_a_candidate() -> None:
    names = tuple(
        name
        for name in STRATEGIES.names()
        if STRATEGIES[name].family not in ("selector", "auto") and not STRATEGIES[name].oracle
    )
    assert len(names) > 40
    got = pw.select("autoal", batch_size=9, candidates=names, **GIVEN)
    assert len(set(got.indices.tolist())) == 9
    told = {*got.notes["trust"], *(part.split(" = ")[0] for part in got.notes["merged"].split("; "))}
    assert told | {part.split(":")[0] for part in got.notes["left_out"].split("; ")} == {*names}


def test_a_candidate_whose_package_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    run = nominations.run_strategy

    def without_torch(spec: Any, context: Any, **given: Any) -> pw.Selection:
        if spec.name == "badge":
            raise MissingExtraError("torch is not installed; pip install poolwise[torch]")
        return run(spec, context, **given)

    monkeypatch.setattr(nominations, "run_strategy", without_torch)
    got = pw.select("autoal", batch_size=5, candidates=("margin", "badge"), **GIVEN)
    assert got.notes["left_out"] == "badge: torch is not installed" and got.notes["candidates"] == "margin"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("look", {"splits": 0}),
        ("refine", {"members": ()}),
        ("refine", {"n_filters": 0}),
        ("selectal", {"removed": 0.9}),
        ("selectal", {"repeats": 0}),
        ("budget_rule", {"until": ()}),
        ("budget_rule", {"until": (5.0, 1.0)}),
        ("albl", {"delta": 0.0}),
        ("tailor", {"discount": 1.5}),
        ("autoal", {"splits": 0}),
        ("autoal", {"shrink": -1.0}),
    ],
    ids=str,
)
def test_options_out_of_range_are_refused_by_name(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(PoolwiseError, match=next(iter(wrong))):
        pw.select(name, batch_size=5, **GIVEN, **wrong)
