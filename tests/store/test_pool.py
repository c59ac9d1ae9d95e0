"""The promise of a pool: what was returned is on disk, nothing is overwritten, nobody gets an item twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from poolwise.store.pool import PoolStore
from poolwise.types import Annotation, Item, PoolState, Selection


def some_items(n: int, prefix: str = "item") -> list[Item]:
    return [Item(i, f"{prefix}-{i}", uri=f"{i}.jpg", group_id=f"g{i % 3}", metadata={"n": i}) for i in range(n)]


def take(batch_size: int):
    """Choose the first `batch_size` of a random order of the unlabeled items."""

    def choose(state: PoolState, seed: int) -> Selection:
        picks = np.random.default_rng(seed).permutation(state.unlabeled)[:batch_size]
        return Selection(picks, picks.astype(np.float32) / 3, "random", {"k": 1}, seed, 0.5, {"gap": picks / 7})

    return choose


@pytest.fixture
def pool(tmp_path: Path) -> PoolStore:
    return PoolStore.create(tmp_path / "birds.pool", some_items(30), source={"kind": "images"}, seed=7)


@pytest.fixture
def declared(tmp_path: Path) -> PoolStore:
    return PoolStore.create(
        tmp_path / "declared.pool", some_items(30), classes=["sparrow", "robin", "gull"], source={"kind": "images"}
    )


def test_an_opened_pool_holds_what_create_was_given(pool: PoolStore) -> None:
    again = PoolStore.open(pool.path)
    assert (again.name, again.n_items, again.source, again.seed) == ("birds.pool", 30, {"kind": "images"}, 7)
    assert again.items() == some_items(30)
    assert again.items([4, 2]) == [some_items(30)[4], some_items(30)[2]]
    assert again.index_of(["item-9", "item-0", "item-9"]).tolist() == [9, 0, 9]
    assert again.item_ids([3, 1]) == ["item-3", "item-1"]


def test_a_batch_leaves_the_unlabeled_items_and_its_answers_become_labels(pool: PoolStore) -> None:
    batch = pool.ask(take(5))
    assert not np.isin(batch.selection.indices, pool.state().unlabeled).any()
    assert len(pool.state().unlabeled) == 25
    pool.annotate([Annotation(int(i), "b" if k else "a") for k, i in enumerate(batch.selection.indices)])
    state = pool.state()
    assert state.labeled.tolist() == sorted(batch.selection.indices.tolist())
    assert state.labels[batch.selection.indices].tolist() == [0, 1, 1, 1, 1]
    assert pool.open_batch() is None
