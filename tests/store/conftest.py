"""A small disk of one's own: full and read-only file systems that are real."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def on_small_disk(tmp_path: Path) -> Callable[[str], str]:
    """Run code in a process that has 4 MiB of file system at sys.argv[1], and return what it printed.

    The process lives in a mount namespace of its own; the test skips where that is forbidden.
    """
    mount = f"mount -t tmpfs -o size=4m tmpfs {tmp_path}"
    try:
        allowed = subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("mounting a file system is not allowed here")

    def run(code: str) -> str:
        script = f'{mount} && exec "{sys.executable}" -W error -c "$CODE" {tmp_path}'
        environment = {**os.environ, "CODE": code, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, env=environment, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
