"""Facts particular to balanced random; the contract every strategy obeys is in test_contract.py."""

from __future__ import annotations

import numpy as np

import poolwise as pw


def test_classes_are_drawn_equally_until_one_is_used_up() -> None:
    truth = np.repeat([0, 1, 2], [50, 4, 30])
    batch = pw.select("balanced_random", oracle_labels=truth, batch_size=24).indices
    assert np.bincount(truth[batch]).tolist() == [10, 4, 10]


def test_every_item_of_a_class_is_equally_likely() -> None:
    truth = np.repeat([0, 1], [10, 5])
    hits = np.zeros(15)
    for seed in range(600):
        hits[pw.select("balanced_random", oracle_labels=truth, batch_size=6, seed=seed).indices] += 1
    expected = np.repeat([600 * 3 / 10, 600 * 3 / 5], [10, 5])
    spread = np.sqrt(600 * np.repeat([0.3 * 0.7, 0.6 * 0.4], [10, 5]))
    assert np.all(np.abs(hits - expected) < 4.5 * spread)
