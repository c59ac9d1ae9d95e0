"""torchvision can be imported whatever torch it meets."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch")


def test_a_fresh_process_can_import_torchvision_() -> None:
    code = (
        "from poolwise.models.torchvision_compat import ensure_torchvision as ensure\n"
        "assert ensure() is ensure()\n"
        "import torch, torchvision\n"
        "assert hasattr(torch.ops.torchvision, 'nms')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
