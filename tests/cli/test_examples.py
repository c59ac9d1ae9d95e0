"""Every help text carries an example, and every example works as printed."""

from __future__ import annotations

import re

import numpy as np
import pytest
import typer.main

from poolwise.cli.main import VERBS, app

STARTING_POINT = {
    "init": "photos",
    "add": "embedded",
    "embed": "embedded",
    "query": "embedded",
    "sample": "trained",
    "status": "embedded",
    "audit": "labeled",
    "report": "labeled",
    "import": "labeled",
    "round": "labeled",
    "release": "labeled",
    "export": "labeled",
    "run": "embedded",
    "select": "photos",
    "strategies": "photos",
    "doctor": "photos",
}


def example_of(verb: str) -> str:
    """The line after `Example:` in a verb's docstring, without the output redirection."""
    found = re.search(r"Example:\s+poolwise (.+)", VERBS[verb].__doc__ or "")
    assert found, f"`poolwise {verb} --help` has no example"
    return found[1].split(">")[0].strip()


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"demo"}))
def test_the_example_in_the_help_works(verb, request, poolwise, tmp_path):
    request.getfixturevalue(STARTING_POINT[verb])
    np.save(tmp_path / "feats.npy", np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32))
    answer = poolwise(example_of(verb))
    assert answer.code == 0, answer.err
    assert answer.out.strip()


def test_demo_has_an_example():
    assert example_of("demo") == "demo"


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_help_is_printed(verb, poolwise):
    answer = poolwise(f"{verb} --help")
    assert answer.code == 0
    assert "Example:" in answer.out


def test_version(poolwise):
    assert poolwise("--version").out.startswith("poolwise 0.")


def options_below(command, path="poolwise"):
    """Every (command line, parameter) of the whole tree of commands."""
    for parameter in command.params:
        yield path, parameter
    for name, child in getattr(command, "commands", {}).items():
        yield from options_below(child, f"{path} {name}")


def test_every_option_and_argument_of_every_command_is_explained():
    found = list(options_below(typer.main.get_command(app)))
    assert len(found) > 100
    assert [(path, parameter.name) for path, parameter in found if not getattr(parameter, "help", None)] == []


@pytest.mark.parametrize("command", ["audit", "auto explain", "status", "report", "release"])
def test_a_pool_that_is_not_there_is_told_alike_by_all_verbs(command, poolwise):
    answer = poolwise(f"{command} nosuch.pool")
    assert answer.code == 1
    assert "Create one with `poolwise init nosuch.pool" in answer.err
