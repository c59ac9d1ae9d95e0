"""A value that is not finite is refused with what to do, never averaged into a result that looks like one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from poolwise.errors import InputError
from poolwise.stats.lure import lure_mean
from poolwise.stats.paired import paired_p
from poolwise.stats.ppi import ppi_mean
from poolwise.stats.ranks import penalty_matrix, performance_profile
from poolwise.stats.savings import labels_saved, labels_to_reach

N = [10, 20]
CALLS: dict[str, Callable[[float], Any]] = {
    "lure": lambda v: lure_mean([0.1, v], [0.1, 0.1], 10),
    "paired_p": lambda v: paired_p([0.1, v]),
    "ppi outcome": lambda v: ppi_mean([0.1, v], [0.1, 0.2], [0.1, 0.2]),
    "ppi guess": lambda v: ppi_mean([0.1, 0.2], [0.1, v], [0.1, 0.2]),
    "ppi population": lambda v: ppi_mean([0.1, 0.2], [0.1, 0.2], [0.1, v]),
    "penalty": lambda v: penalty_matrix([{"a": [[0.1, v], [0.1, 0.2]], "b": [[0.1, 0.2], [0.2, 0.2]]}]),
    "saved": lambda v: labels_saved((N, [[0.1, 0.2]]), (N, [[0.1, v]])),
    "reach": lambda v: labels_to_reach(N, [[0.1, v], [0.1, 0.2]], 0.15),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_it_is_refused(name: str, value: float) -> None:
    CALLS[name](0.2)
    with pytest.raises(InputError, match=r"finite|NaN"):
        CALLS[name](value)


def test_a_profile_of_nothing_finished_is_refused() -> None:
    with pytest.raises(InputError, match="some strategy finished"):
        performance_profile([[np.nan, np.nan]], [0.0])
