"""What every registered detector obeys, whoever wrote it."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import InputError
from poolwise.kernels import blocks
from poolwise.query import build_context
from poolwise.registry import DETECTORS, DetectorSpec, coerce
from poolwise.types import ARRAYS

SPECS = DETECTORS.entries()
N, D, C = 90, 5, 3
KNOWN = np.arange(0, 60, 4)
FOREIGN = np.arange(60, 90, 6)
ITEMS = np.setdiff1d(np.arange(N), np.r_[KNOWN, FOREIGN])

pytestmark = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


def make_pool(seed: int = 0) -> dict[str, Any]:
    """Items 0 to 59 in three classes along three axes, 60 to 89 foreign: along a fourth axis, where no class speaks."""
    rng = np.random.default_rng(seed)
    truth = np.r_[np.arange(60) % C, np.full(30, 3)]
    x = 0.3 * rng.normal(size=(N, D)) + 4 * np.eye(D)[truth]
    weight = 2 * np.eye(D)[:C]
    labels = np.full(N, -1)
    labels[KNOWN] = truth[KNOWN]
    return {"embeddings": x, "head_weight": weight, "labels": labels, "ood_scores": x[:, 3]}


def score(
    spec: DetectorSpec,
    pool: dict[str, Any] | None = None,
    *,
    items: np.ndarray = ITEMS,
    foreign: np.ndarray | None = FOREIGN,
    **options: Any,
) -> np.ndarray:
    pool = dict(make_pool() if pool is None else pool)
    labels = pool.pop("labels")
    context = build_context(spec, pool, labels=labels, unlabeled=items, foreign=foreign)
    state = {"items": context.unlabeled} | ({"labeled": context.labeled} if "labeled" in spec.takes_state else {})
    return np.asarray(spec.function(**context.arrays, **state, **options))


def test_gives_one_finite_float64_per_item(spec: DetectorSpec) -> None:
    for items in (ITEMS, ITEMS[:1], ITEMS[:0]):
        got = score(spec, items=items)
        assert got.shape == items.shape and got.dtype == np.float64 and np.isfinite(got).all()


def test_foreign_items_score_higher(spec: DetectorSpec) -> None:
    for foreign in (FOREIGN, None):
        items = ITEMS if foreign is not None else np.setdiff1d(np.arange(N), KNOWN)
        got = score(spec, items=items, foreign=foreign)
        assert got[items >= 60].min() > np.quantile(got[items < 60], 0.9)


def test_the_score_of_an_item_does_not_depend_on_the_other_items(spec: DetectorSpec) -> None:
    assert score(spec, items=ITEMS[7:9]) == pytest.approx(score(spec)[7:9], rel=1e-9, abs=1e-9)


def test_does_not_depend_on_the_block_size(spec: DetectorSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = score(spec)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4)
    monkeypatch.setattr(blocks, "MIN_BLOCK_ROWS", 7)
    assert score(spec) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_inputs_stay_untouched(spec: DetectorSpec) -> None:
    pool = make_pool()
    for value in pool.values():
        value.setflags(write=False)
    assert np.array_equal(score(spec, pool), score(spec))


@pytest.mark.parametrize("case", ["constant", "zeros", "duplicates", "huge", "float16", "one label"])
def test_survives_degenerate_pools(spec: DetectorSpec, case: str) -> None:
    pool = make_pool()
    x = pool["embeddings"]
    if case == "one label":
        pool["labels"] = np.where(np.arange(N) == 0, 0, -1)
    pool["embeddings"] = {
        "constant": np.ones_like(x),
        "zeros": np.zeros_like(x),
        "duplicates": np.repeat(x[:9], 10, axis=0),
        "huge": x + 1e4,
        "float16": x.astype(np.float16),
        "one label": x,
    }[case]
    assert np.isfinite(score(spec, pool)).all()


def test_needs_labels_only_if_it_says_so(spec: DetectorSpec) -> None:
    pool = make_pool() | {"labels": np.full(N, -1)}
    if "labeled" in spec.takes_state:
        with pytest.raises(InputError, match="label"):
            score(spec, pool)
    else:
        assert len(score(spec, pool)) == len(ITEMS)


def test_gates_any_strategy(spec: DetectorSpec) -> None:
    pool = make_pool()
    for strategy in ("random", "margin", "coreset"):
        got = pw.select(strategy, batch_size=8, ood=spec.name, foreign=FOREIGN, **pool)
        assert got.notes["ood"] == spec.name and len(got.components["ood_score"]) == 8
        assert (got.indices >= 60).sum() <= 1 and not np.isin(got.indices, FOREIGN).any()


def test_says_where_it_comes_from_and_what_it_takes(spec: DetectorSpec) -> None:
    module = inspect.getmodule(spec.function)
    assert module is not None and "Source:" in (module.__doc__ or "")
    text = inspect.getdoc(spec.function) or ""
    assert spec.summary.endswith(".") and spec.paper and spec.use_when
    for section in ("Parameters", "Returns"):
        assert f"{section}\n---" in text
    for name in inspect.signature(spec.function).parameters:
        assert name in text, f"the docstring does not describe {name}"
    assert set(spec.needs) | set(spec.uses) <= set(ARRAYS)
    for option in spec.options.values():
        assert coerce(option.name, option.default, option.type) == option.default
