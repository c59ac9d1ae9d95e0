"""kill -9 between the draw of the audit slice and its record: the next query gives the identical batch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from poolwise.pool import Pool

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")


def test_a_killed_query_gives_the_same_batch_with_the_same_slice(tmp_path):
    x = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
    x[np.arange(600), np.arange(600) % 4] += 2
    pool = Pool.create(tmp_path / "p", embeddings=x)
    first = pool.query("random", batch_size=60, audit=0.25)
    pool.label(first.indices, [f"c{i % 4}" for i in first.indices.tolist()])
    pool.store.close()
    for copy in ("q", "warm", *map(str, range(5))):
        shutil.copytree(tmp_path / "p", tmp_path / copy)
    expected = Pool.open(tmp_path / "q").query("margin", batch_size=40)
    environment = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    worker = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("kill_worker.py")), str(tmp_path / "warm")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    died_before_recording = 0
    for number, delay_s in enumerate(np.geomspace(0.001, 0.3, 5)):
        worker.stdin.write(f"{tmp_path / str(number)} {delay_s}\n")
        worker.stdin.flush()
        assert worker.stdout.readline() == "done\n"
        again = Pool.open(tmp_path / str(number))
        batches = again.store.batches()
        assert len(batches) in (1, 2)
        died_before_recording += len(batches) == 1
        got = again.query("margin", batch_size=40) if len(batches) == 1 else batches[1].selection
        assert got.indices.tolist() == expected.indices.tolist()
        assert np.asarray(got.components["audit"]).tolist() == np.asarray(expected.components["audit"]).tolist()
    assert died_before_recording >= 1
    worker.stdin.close()
    worker.stdout.close()
    worker.wait()
