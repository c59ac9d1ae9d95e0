"""The public names: sorted, there, and few."""

from __future__ import annotations

import subprocess
import sys

import pytest

import poolwise as pw


def test_public_names_are_sorted_and_exist():
    kind = {name: 0 if name.isupper() else 1 if name[0].isupper() else 2 for name in pw.__all__}
    assert pw.__all__ == sorted(pw.__all__, key=lambda name: (kind[name], name))  # constants, classes, functions
    assert len(pw.__all__) <= 25
    for name in pw.__all__:
        assert getattr(pw, name) is not None


def test_pool_has_the_verbs_of_the_readme():
    for verb in ("create", "open", "add", "embed", "query", "label", "fit", "run", "status", "report", "export"):
        assert callable(getattr(pw.Pool, verb))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Poool'"):
        _ = pw.Poool


def test_importing_poolwise_needs_neither_torch_nor_pandas():
    code = "import sys, poolwise; print(sorted({'torch', 'pandas', 'matplotlib', 'fastapi'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
