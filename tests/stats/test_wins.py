"""Shares of data sets won, with intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from poolwise.chance import rng_for
from poolwise.errors import InputError
from poolwise.stats.wins import win_shares


def test_shares_by_hand_and_intervals_of_the_binomial() -> None:
    d = [0.1] * 12 + [0.0] * 3 + [-0.2] * 5 + [np.nan]
    found = win_shares(d, rng=rng_for(0, "test"), n_draws=100_000)
    assert (found.wins.mean, found.ties.mean, found.losses.mean) == pytest.approx((0.6, 0.15, 0.25))
    assert found.wins.n == 20
    for share in (found.wins, found.ties, found.losses):
        want = stats.binom(20, share.mean).ppf([0.025, 0.975]) / 20
        assert (share.low, share.high) == pytest.approx(want, abs=0.051)  # one step of the quantile


@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_what_was_never_seen_may_still_happen(n: int) -> None:
    found = win_shares(np.ones(n), rng=rng_for(0, "test"))
    unseen = 1 - 0.025 ** (1 / n)
    assert (found.wins.low, found.wins.high) == pytest.approx((1 - unseen, 1))
    assert (found.losses.low, found.losses.high) == pytest.approx((0, unseen))
    assert (1 - unseen) ** n == pytest.approx(0.025)  # so rare would n of n be


def test_nothing_to_count_is_refused() -> None:
    for d in ([], [np.nan]):
        with pytest.raises(InputError, match="at least one difference"):
            win_shares(d, rng=rng_for(0, "test"))
