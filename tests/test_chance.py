"""One seed, and independent streams for every consumer."""

from __future__ import annotations

import numpy as np

from poolwise.chance import rng_for


def test_the_same_name_and_numbers_give_the_same_stream() -> None:
    assert np.array_equal(rng_for(7, "query", 3).random(5), rng_for(7, "query", 3).random(5))


def test_seed_name_and_numbers_each_change_the_stream() -> None:
    firsts = {
        float(rng.random())
        for rng in (rng_for(0, "a"), rng_for(1, "a"), rng_for(0, "b"), rng_for(0, "a", 0), rng_for(0, "a", 0, 0))
    }
    assert len(firsts) == 5


def test_the_stream_is_the_same_on_every_machine() -> None:
    """Written down once: a change here would change every published batch."""
    assert rng_for(0, "query").integers(0, 10**6, 3).tolist() == FIRST


FIRST = [681641, 360942, 766313]


def test_large_seeds_are_taken() -> None:
    assert 0 <= rng_for(2**64 - 1, "query").random() < 1
