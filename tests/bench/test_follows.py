"""The digest of a run's code changes with what the run goes through, and with nothing else."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import poolwise.pool  # noqa: F401  (registers every strategy)
from poolwise.bench import follows
from poolwise.registry import STRATEGIES


def reached(*modules: str) -> set[str]:
    tops = {"poolwise", *(name.split(".")[0] for name in modules)}
    return set(follows._closure([*follows.ROOTS, *modules], tops)[0])


def test_a_run_follows_from_what_it_goes_through() -> None:
    found = reached("poolwise.strategies.base")
    wanted = (
        "query calling reduce registry chance kernels.scores train.linear_probe oracles.noisy stats.balance ood.gate"
    )
    assert {f"poolwise.{name}" for name in wanted.split()} | {"poolwise.strategies.base"} <= found


def test_other_strategies_pages_and_commands_do_not_count() -> None:
    found = reached("poolwise.strategies.base")
    assert not {name for name in found if name.startswith(("poolwise.strategies", "poolwise.auto"))} - {
        "poolwise.strategies.base"
    }
    assert not {name for name in found if name.startswith(("poolwise.cli", "poolwise.report", "poolwise.web"))}
    assert not found & follows.ASIDE


@pytest.mark.parametrize("name", ["look", "ensemble"])
def test_who_chooses_among_strategies_follows_from_all_of_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = follows.code_digest(STRATEGIES[name].function.__module__)
    alone = follows.code_digest("poolwise.strategies.random")
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: real(path) + b"#" * (path.name == "margin.py"))
    follows.code_digest.cache_clear()
    assert follows.code_digest(STRATEGIES[name].function.__module__) != before
    assert follows.code_digest("poolwise.strategies.random") == alone
    follows.code_digest.cache_clear()


def test_a_package_of_someone_else_is_followed_within_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "someones_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "chooser.py").write_text("import torch\nfrom .helper import half\nimport json\n")
    (package / "helper.py").write_text("def half():\n    from someones_package import deep\n    return deep\n")
    (package / "deep.py").write_text("value = 1\n")
    (package / "unused.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    inside = {name for name in reached("someones_package.chooser") if name.startswith("someones")}
    assert inside == {f"someones_package{end}" for end in ("", ".chooser", ".helper", ".deep")}
    before = follows.code_digest("someones_package.chooser")
    for name, counts in (("unused", False), ("deep", True)):
        (package / f"{name}.py").write_text("value = 2\n")
        follows.code_digest.cache_clear()
        assert (follows.code_digest("someones_package.chooser") != before) == counts
    sys.modules.pop("someones_package", None)


def test_versions_of_the_libraries_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = follows.code_digest("poolwise.strategies.margin")
    follows.code_digest.cache_clear()
    monkeypatch.setattr(follows, "_version", lambda package: "another" if package == "scipy" else "same")
    assert follows.code_digest("poolwise.strategies.margin") != before
    follows.code_digest.cache_clear()
