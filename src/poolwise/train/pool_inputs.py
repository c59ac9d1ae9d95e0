"""The items of a pool as inputs of a network: images or texts, opened and prepared when they are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from poolwise.datasets.content import load_content
from poolwise.errors import InputError, ShapeError, UnreadableItemError
from poolwise.kernels.blocks import Key
from poolwise.store.pool import PoolStore
from poolwise.train.embed import unreadable_items
from poolwise.types import Array, Item


class PoolInputs:
    """(N, ...) float32 rows: `prepare` of each item's content.

    Items that `poolwise embed` found unreadable are rows of zeros; they are never asked for.

    Parameters
    ----------
    store : whose items
    prepare : turns one RGB PIL image, or one text, into an array or tensor; the same shape for every item. Called from
        several threads. It should be the transform for evaluation, without random crops or flips

    Raises
    ------
    InputError
        On reading: if an item cannot be opened.
    ShapeError
        On reading: if `prepare` gives rows of different shapes.
    """

    def __init__(self, store: PoolStore, prepare: Callable[[Any], Any]) -> None:
        self.store, self.prepare = store, prepare
        self.unreadable = frozenset(unreadable_items(store))
        first = next((item for item in store.iter_items() if item.index not in self.unreadable), None)
        if first is None:
            raise InputError(f"pool {store.name!r} has no item that can be read. Check its files.")
        self.shape: tuple[int, ...] = (store.n_items, *self._one(first).shape)
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Key) -> Array:
        items = np.arange(len(self))[key] if isinstance(key, slice) else np.asarray(key)
        out = np.zeros((len(items), *self.shape[1:]), dtype=self.dtype)
        known = [pos for pos, index in enumerate(items.tolist()) if index not in self.unreadable]
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as workers:
            opened = workers.map(self._one, self.store.items(items[known]))
            for pos, row in zip(known, opened, strict=True):
                if row.shape != out.shape[1:]:
                    raise ShapeError(
                        f"prepare gave {row.shape} for item {items[pos]} and {out.shape[1:]} for the first one; a "
                        "network needs equal shapes. Resize in prepare."
                    )
                out[pos] = row
        return out

    def _one(self, item: Item) -> Array:
        try:
            content, _ = load_content(item, self.store.source)
        except UnreadableItemError as error:
            raise InputError(
                f"item {item.item_id!r} of pool {self.store.name!r} cannot be read: {error}. "
                f"Run `poolwise embed {self.store.path}` first, which sets such items aside."
            ) from error
        return np.asarray(self.prepare(content), dtype=np.float32)
