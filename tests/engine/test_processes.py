"""Ranks in real processes that talk through gloo: the same batch, whoever is killed, and nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import poolwise as pw
from poolwise import progress
from poolwise.engine import processes
from poolwise.engine.plan import Settings
from poolwise.errors import InputError, MissingExtraError, OptionError

pytest.importorskip("torch")


@pytest.fixture
def watched(monkeypatch):
    """All worker processes that are started, in order."""
    found = []
    start = processes.started

    @contextmanager
    def noted(count, logs):
        with start(count, logs) as group:
            found.extend(group)
            yield group

    monkeypatch.setattr(processes, "started", noted)
    return found


def saved(tmp_path, n=12_000, width=48):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(n, width)).astype(np.float16))
    rows = np.load(tmp_path / "x.npy", mmap_mode="r")
    return {"embeddings": rows, "labeled": np.arange(0, n, 1000)}


def test_a_killed_worker_is_replaced_and_the_batch_is_that_of_one_process(tmp_path, watched):
    asked = saved(tmp_path)
    one = pw.select("coreset", batch_size=900, **asked)
    heard = []

    def kill_at_first_news(what, done, total):
        if not heard:
            os.kill(watched[1].pid, signal.SIGKILL)
        heard.append(what)

    with progress.listening(kill_at_first_news):
        two = pw.select("coreset", batch_size=900, engine="processes", workers=2, **asked)
    assert np.array_equal(one.indices, two.indices) and np.allclose(one.scores, two.scores)
    assert two.notes["restarts"] == 1 and two.notes["workers"] == 2
    assert "choosing rows" in heard
    assert len(watched) == 4 and all(process.poll() is not None for process in watched)


def test_a_worker_says_nothing_of_its_own_start(tmp_path):
    with processes.started(1, tmp_path) as [worker]:  # its last line is told when it is lost
        worker.stdin.close()
        worker.wait(60)
    assert "RuntimeWarning" not in (tmp_path / "worker-0.log").read_text(encoding="utf-8")


def test_an_error_of_the_last_worker_arrives_and_everybody_ends(tmp_path, watched):
    x = np.random.default_rng(0).normal(size=(300_000, 2)).astype(np.float32)  # spilled: larger than a message
    x[-1] = np.nan
    with pytest.raises(InputError, match="embeddings row 299999 holds NaN"):
        pw.select("coreset", embeddings=x, batch_size=3, engine="processes", workers=3)
    assert len(watched) == 3 and all(process.poll() is not None for process in watched)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["badge", "base", "mase", "margin", "coreset"])
@pytest.mark.parametrize("workers", [2, 4])
def test_every_strategy_over_processes(tmp_path, name, workers):
    asked = saved(tmp_path) | {"head_weight": np.random.default_rng(1).normal(size=(9, 48)).astype(np.float32)}
    one = pw.select(name, batch_size=100, seed=4, **asked)
    split = pw.select(name, batch_size=100, seed=4, engine="processes", workers=workers, **asked)
    assert np.array_equal(one.indices, split.indices)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_stopping_the_command_stops_its_workers(tmp_path, sign, code):
    psutil = pytest.importorskip("psutil")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60_000, 128)).astype(np.float32))
    command = [sys.executable, "-m", "poolwise", "select", "--strategy", "coreset", "--embeddings", "x.npy"]
    command += ["--batch-size", "6000", "--engine", "processes", "--workers", "2"]
    environment = os.environ | {"PYTHONPATH": str(Path(pw.__file__).parents[1])}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        workers = []
        while len(workers) < 2 and running.poll() is None:
            workers = psutil.Process(running.pid).children()
            time.sleep(0.1)
        time.sleep(3)
        running.send_signal(sign)
        running.communicate(timeout=30)
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert running.returncode == code and not alive


def test_missing_torch_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install .*poolwise\[torch\]"):
        pw.select("coreset", batch_size=3, engine="processes", workers=2, **saved(tmp_path, 50, 4))


def test_nccl_is_chosen_where_every_worker_has_a_gpu(monkeypatch):
    import torch

    assert processes.chosen_backend(Settings(), None, 2) == "gloo"
    with pytest.raises(OptionError, match="nccl needs one GPU for each of 999 workers"):
        processes.chosen_backend(Settings(collectives="nccl"), "cuda", 999)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert processes.chosen_backend(Settings(), "cuda", 2) == "nccl"
    assert processes.chosen_backend(Settings(), "cuda", 3) == "gloo"
    assert processes.chosen_backend(Settings(collectives="gloo"), "cuda", 2) == "gloo"
