"""Facts particular to DropQuery."""

from __future__ import annotations

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import OptionError
from poolwise.strategies.dropquery import MASK_ROWS, count_changes, dropout_bytes

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2500, 8)).astype(np.float32)
W = RNG.normal(size=(4, 8)).astype(np.float32)
BIAS = RNG.normal(size=4).astype(np.float32)


def test_changes_equal_a_loop_over_items_and_passes() -> None:
    indices = np.array([0, 5, 1023, 1024, 1500, 2047, 2048, 2499])
    got = count_changes(X, W, BIAS, indices, 3, 0.75, key=9)
    for position, i in enumerate(indices.tolist()):
        changes = 0
        for t in range(3):
            kept = dropout_bytes(9, i // MASK_ROWS, t, 8)[i % MASK_ROWS] >= 192
            changes += int(np.argmax(W @ (X[i] * kept * 4) + BIAS) != np.argmax(W @ X[i] + BIAS))
        assert got[position] == changes


def test_a_quarter_of_the_features_survive_and_masks_differ_between_passes() -> None:
    kept = dropout_bytes(1, 0, 0, 64) >= 192
    assert kept.mean() == pytest.approx(0.25, abs=0.01)
    assert (kept != (dropout_bytes(1, 0, 1, 64) >= 192)).any()


def test_changes_of_an_item_do_not_depend_on_the_others() -> None:
    whole = count_changes(X, W, BIAS, np.arange(2500), 3, 0.75, key=4)
    part = np.array([3, 700, 1030, 2400])
    assert count_changes(X, W, BIAS, part, 3, 0.75, key=4).tolist() == whole[part].tolist()


def test_without_dropout_nothing_changes_and_the_batch_is_random() -> None:
    batch = pw.select("dropquery", embeddings=X, head_weight=W, batch_size=10, rate=0.0)
    assert batch.notes["candidates"] == 0 and (batch.scores == 0).all()
    other = pw.select("dropquery", embeddings=X, head_weight=W, batch_size=10, rate=0.0, seed=1)
    assert batch.indices.tolist() != other.indices.tolist()


def test_picks_come_from_the_items_that_change() -> None:
    batch = pw.select("dropquery", embeddings=X, head_weight=W, head_bias=BIAS, batch_size=10)
    assert batch.notes["candidates"] > 250
    assert (batch.components["changes"] > batch.notes["threshold"]).all()
    for wrong in ({"rate": 1.0}, {"passes": 0}):
        with pytest.raises(OptionError, match="dropquery"):
            pw.select("dropquery", embeddings=X, head_weight=W, batch_size=3, **wrong)
