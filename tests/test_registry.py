"""What a signature says is what the registry knows."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from poolwise.errors import OptionError, UnknownNameError
from poolwise.registry import (
    STRATEGIES,
    Registry,
    acquisition,
    check_options,
    coerce,
    parse_settings,
    strategy,
    type_name,
)
from poolwise.types import FloatArray, IndexArray


def test_needs_uses_state_and_options_follow_from_the_signature() -> None:
    spec = STRATEGIES["base"]
    assert spec.needs == ("logits", "head_weight")
    assert spec.uses == ("labels",)
    assert spec.takes_state == ("labeled", "unlabeled")
    assert spec.takes_rng
    assert set(spec.options) == {"order", "quota"}
    assert spec.options["quota"].default == "equal"


def test_a_parameter_that_is_no_array_is_refused_at_import() -> None:
    with pytest.raises(OptionError, match="'pictures' is not an array"):

        @acquisition("test_wrong", family="test", paper="none")
        def wrong(pictures: FloatArray) -> FloatArray:
            return pictures

    with pytest.raises(OptionError, match="option 'k' needs a default"):

        @strategy("test_wrong", family="test", paper="none")
        def without_default(unlabeled: IndexArray, *, batch_size: int, k: int) -> IndexArray:
            return unlabeled[:batch_size]

    assert "test_wrong" not in STRATEGIES


def test_names_are_unique_sorted_and_suggested() -> None:
    registry: Registry[int] = Registry("thing")
    registry.add("b", 2)
    registry.add("a", 1)
    assert registry.names() == ["a", "b"] and registry.entries() == [1, 2] and len(registry) == 2
    with pytest.raises(OptionError, match="registered twice"):
        registry.add("a", 3)
    with pytest.raises(UnknownNameError, match="no thing named 'c'"):
        registry["c"]


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (3, int, 3),
        (3.0, int, 3),
        (np.int64(3), int, 3),
        (3, float, 3.0),
        (np.float32(0.5), float, 0.5),
        (True, bool, True),
        ("a", Literal["a", "b"], "a"),
        (None, int | None, None),
        (4, int | None, 4),
        ("1,2", tuple[int, ...], (1, 2)),
        ([1, 2], tuple[int, ...], (1, 2)),
        ("x", str, "x"),
    ],
)
def test_values_that_fit_are_taken(value: Any, annotation: Any, expected: Any) -> None:
    got = coerce("k", value, annotation)
    assert got == expected and type(got) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (3.5, int),
        (True, int),
        ("3", int),
        (True, float),
        (1, bool),
        ("c", Literal["a", "b"]),
        (1, str),
        ("x", int | None),
    ],
)
def test_values_that_do_not_fit_are_refused_with_the_type_in_words(value: Any, annotation: Any) -> None:
    with pytest.raises(OptionError, match=r"k must be .*; got"):
        coerce("k", value, annotation)


def test_types_are_named_in_words() -> None:
    assert type_name(int | None) == "a whole number or none"
    assert type_name(Literal["a", "b"]) == "one of 'a', 'b'"
    assert type_name(tuple[float, ...]) == "a list of a number"


def test_settings_of_the_command_line_become_checked_options() -> None:
    spec = STRATEGIES["base"]
    assert parse_settings(spec, ["order=draft", "quota = equal"]) == {"order": "draft", "quota": "equal"}
    with pytest.raises(OptionError, match="expected OPTION=VALUE"):
        parse_settings(spec, ["order"])
    with pytest.raises(OptionError, match=r"no option 'k'. Options: order"):
        check_options(spec, {"k": 3})


def test_no_option_is_hidden_by_an_argument_of_select() -> None:
    import inspect

    import poolwise as pw
    from poolwise.registry import STRATEGIES

    taken = set(inspect.signature(pw.select).parameters)
    clashes = {
        spec.name: sorted(taken & set(spec.options)) for spec in STRATEGIES.entries() if taken & set(spec.options)
    }
    assert clashes == {}


@pytest.mark.parametrize("name", [3, None, ("margin",)])
def test_a_name_that_is_no_text_is_an_unknown_one(name: object) -> None:
    with pytest.raises(UnknownNameError, match="no strategy named"):
        STRATEGIES[name]  # type: ignore[index]
