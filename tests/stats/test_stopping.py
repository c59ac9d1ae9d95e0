"""Cohen's kappa against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from poolwise.errors import ShapeError
from poolwise.stats.stopping import kappa


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    assert kappa(a, b) == pytest.approx(cohen_kappa_score(a, b))


def test_by_hand():
    assert kappa([0, 0, 1, 1], [0, 1, 1, 1]) == pytest.approx((0.75 - 0.5) / 0.5)
    assert kappa([2, 2], [2, 2]) == 1
    assert kappa([0, 1], [0, 1]) == 1
    assert kappa([0, 0], [1, 1]) == 0


def test_classifications_of_other_items_are_refused():
    with pytest.raises(ShapeError):
        kappa([0, 1], [0])
