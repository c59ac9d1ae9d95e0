"""Runs children one after the other, until the time is up, and keeps their answers for a run that goes on later.

An answer is used again if the arguments, the code of poolwise, of the peers and of the measurement, the versions of all
packages and the processor are the same.
"""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import environment, thread_environment

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 900.0
LEAST_S = 2.0
"""With less time left no child is started."""
NOT_CODE = ("__main__.py", "kept.py", "table.py", "plot.py", "imagenet.py")
"""Files that do not change what a child measures."""


def in_child(*words: str, threads: int = 1, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Run `benchmarks.speed.child` with these arguments; a child that fails gives status "failed"."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "benchmarks.speed.child", str(output), *words]
        try:
            done = subprocess.run(
                command, env=thread_environment(threads), capture_output=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            return {"status": "failed", "text": f"took longer than {timeout_s:.0f} s"}
        if done.returncode or not output.exists():
            lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
            return {"status": "failed", "text": lines[-1][:200]}
        answer: dict[str, Any] = json.loads(output.read_text())
        return answer


@dataclass(frozen=True, slots=True)
class Runner:
    """Asks children, or the answers that are kept.

    folder : of the answers; None keeps none
    deadline : on the clock of `time.monotonic`
    """

    folder: Path | None = None
    deadline: float = float("inf")

    def __call__(self, *words: str) -> dict[str, Any]:
        """The answer to these arguments; status "not measured" where the time is up. Failures are not kept."""
        path = None if self.folder is None else self.folder / f"{_digest(words)}.json"
        if path is not None and path.exists():
            kept: dict[str, Any] = json.loads(path.read_text())
            return kept
        left = self.deadline - time.monotonic()
        answer = in_child(*words, timeout_s=min(left, TIMEOUT_S)) if left >= LEAST_S else {"status": "failed"}
        if answer.get("status") == "failed" and self.deadline - time.monotonic() < LEAST_S:
            return {"status": "not measured", "text": "the time was up: run the command again"}
        answer.pop("environment", None)
        if path is not None and answer.get("status") != "failed":
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_suffix(".part")
            aside.write_text(json.dumps(answer))
            aside.replace(path)
        return answer


def _digest(words: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps([_code(), words]).encode()).hexdigest()[:32]


@functools.cache
def _code() -> str:
    around = environment()
    digest = hashlib.sha256(json.dumps([around["packages"], around["processor"], around["python"]]).encode())
    for part in ("src/poolwise", "benchmarks/speed", "benchmarks/peers"):
        for path in sorted((ROOT / part).rglob("*.py")):
            if part == "src/poolwise" or path.name not in NOT_CODE:
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
