"""Shares that sum exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolwise.errors import BudgetError
from poolwise.kernels.quotas import equal_quotas, proportional_quotas, water_fill


def poured(size: int, available: list[int], start: list[int]) -> list[int]:
    """Give one item at a time to the lowest class that has room; among equals to the one with most room."""
    share = [0] * len(available)
    for _ in range(size):
        open_ = [c for c in range(len(available)) if share[c] < available[c]]
        c = min(open_, key=lambda c: (start[c] + share[c], share[c] - available[c], c))
        share[c] += 1
    return share


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6)), min_size=1, max_size=7), st.data())
def test_water_filling_levels_what_can_be_leveled(classes: list[tuple[int, int]], data: st.DataObject) -> None:
    available, start = [a for a, _ in classes], [s for _, s in classes]
    size = data.draw(st.integers(0, sum(available)))
    share = water_fill(size, available, start)
    assert share.sum() == size and (share >= 0).all() and (share <= available).all()
    levels = np.sort(np.array(start) + share)
    assert levels.tolist() == sorted(np.array(start) + poured(size, available, start))


def test_water_filling_of_the_reference_case_that_failed() -> None:
    """Available counts for which the public reference implementation aborts."""
    assert water_fill(80, [50, 5, 200, 20]).tolist() == [27, 5, 28, 20]
    assert water_fill(275, [50, 5, 200, 20]).tolist() == [50, 5, 200, 20]
    with pytest.raises(BudgetError, match="275"):
        water_fill(276, [50, 5, 200, 20])


def test_equal_and_proportional_quotas_sum_to_the_size() -> None:
    assert equal_quotas(8, 3).tolist() == [3, 3, 2]
    assert equal_quotas(2, 4).tolist() == [1, 1, 0, 0]
    assert proportional_quotas(10, [1, 1, 2]).tolist() == [3, 2, 5]
    assert proportional_quotas(5, [0, 0]).tolist() == [3, 2]
