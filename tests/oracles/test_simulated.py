"""Facts about the annotator that knows everything."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.errors import InputError
from poolwise.oracles.simulated import annotate, answer


def test_answers_come_in_the_order_asked():
    assert answer(np.array([5, 6, 7, 8]), np.array([3, 0])).tolist() == [8, 5]
    assert answer(np.array([5]), np.array([], dtype=np.int64)).tolist() == []


def test_an_item_without_truth_is_named():
    with pytest.raises(InputError, match="item 2 "):
        answer(np.array([0, 1, -1]), np.array([1, 2]))


def test_annotations_carry_class_names():
    first, second = annotate(np.array([1, 0]), np.array([9, 4]), ("cat", "dog"), round=3)
    assert (first.index, first.label, first.source, first.round) == (9, "dog", "simulated", 3)
    assert (second.index, second.label) == (4, "cat")
    assert first.time.endswith("+00:00")
