"""One task for many items: every answer once, whoever dies."""

from __future__ import annotations

import pytest

from poolwise import engine
from poolwise.errors import EngineError, OptionError, UnknownNameError
from tests.engine.tasks import die, square, square_after_dying_once


def test_threads_give_every_answer_with_its_position():
    assert sorted(engine.map(square, [3, 1, 2], engine="local", workers=2)) == [(0, 9), (1, 1), (2, 4)]
    assert list(engine.map(square, [], engine="local")) == []


def test_processes_survive_a_death_and_pass_on_errors(tmp_path):
    items = [(x, str(tmp_path / "died")) for x in range(6)]
    assert dict(engine.map(square_after_dying_once, items, workers=2)) == {x: x * x for x in range(6)}
    assert (tmp_path / "died").exists()
    with pytest.raises(ValueError, match="-1 is negative"):
        list(engine.map(square, [-1], workers=1))


@pytest.mark.slow
def test_a_task_that_always_dies_is_an_error():
    with pytest.raises(EngineError, match=r"died, 3 times in a row.*1 of 1 tasks are not done.*fewer workers"):
        list(engine.map(die, [0], workers=1))


def test_wrong_settings_are_refused():
    with pytest.raises(OptionError, match="workers must be"):
        list(engine.map(square, [1], workers=0))
    with pytest.raises(OptionError, match="is for engine 'ray'"):
        list(engine.map(square, [1], address="here:1"))
    with pytest.raises(UnknownNameError, match="no engine named 'dask'"):
        list(engine.map(square, [1], engine="dask"))
