"""The worked example of a third-party strategy is built, found through its entry point, and run in a suite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from poolwise.bench import run
from poolwise.bench.suite import load_suite
from poolwise.cli.bench import EXAMPLE, bench_app
from poolwise.registry import PLUGIN_GROUP, STRATEGIES

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"seeds": "1", "rounds": "2", "task": '"fashion_demo:pool=300"'}


@pytest.fixture
def package(tmp_path):
    """The files of the example, and the metadata that an installer makes of them."""
    text = EXAMPLE.read_text(encoding="utf-8")
    for name, body in re.findall(r"`([\w.]+)`\n\n```\w+\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(body)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"][PLUGIN_GROUP]
    (info / "entry_points.txt").write_text(
        f"[{PLUGIN_GROUP}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
    )
    suite = (tmp_path / "suite.toml").read_text()
    for key, value in SMALL.items():
        suite = re.sub(rf"^{key} = .*$", f"{key} = {value}", suite, flags=re.MULTILINE)
    (tmp_path / "suite.toml").write_text(suite)
    return tmp_path


def test_the_command_prints_the_page_of_the_guide():
    printed = CliRunner().invoke(bench_app, ["add-method"]).stdout
    assert printed == (ROOT / "docs" / "guide" / "add-a-method.md").read_text(encoding="utf-8")


def test_an_installed_package_runs_in_a_suite_by_name(package):
    command = [sys.executable, "-m", "poolwise", "bench", "suite.toml", "--workers", "2", "--json"]
    path = os.pathsep.join([str(ROOT / "src"), str(package)])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(command, cwd=package, env=env, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert '"far_and_unsure"' in answer.stdout
    assert '"far_and_unsure(factor=20)"' in answer.stdout
    assert '"failures": []' in answer.stdout


def test_without_a_package_the_suite_names_the_module(package, monkeypatch):
    monkeypatch.syspath_prepend(str(package))
    suite = package / "suite.toml"
    suite.write_text('modules = ["far_and_unsure"]\n' + suite.read_text())
    try:
        results = run(load_suite(suite))
        assert not results.failures
        rows = results.column("n_labeled", strategy="far_and_unsure")
        assert rows == [20, 40, 60]
    finally:
        STRATEGIES._entries.pop("far_and_unsure", None)
        sys.modules.pop("far_and_unsure", None)
