"""Ranks and tasks on a real Ray that is started here, offline, and shut down again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import poolwise as pw
from poolwise import engine
from poolwise.engine import ray as ray_engine
from poolwise.errors import EngineError, MissingExtraError
from tests.engine.tasks import square_after_dying_once

slow = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray opens files and sockets that it does not close


def asked(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(12_000, 48)).astype(np.float16))
    return {"embeddings": np.load(tmp_path / "x.npy", mmap_mode="r"), "labeled": np.arange(0, 12_000, 1000)}


def test_missing_ray_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"--engine ray needs .*pip install .*poolwise\[ray\]"):
        pw.select("coreset", batch_size=3, engine="ray", workers=2, **asked(tmp_path))


@pytest.mark.slow
def test_the_command_of_the_guide_equals_one_process_and_leaves_no_ray_behind(tmp_path):
    pytest.importorskip("ray")
    psutil = pytest.importorskip("psutil")
    asked(tmp_path)
    command = [sys.executable, "-m", "poolwise", "select", "--strategy", "coreset", "--embeddings", "x.npy"]
    before = {p.pid for p in psutil.process_iter(["name"]) if "raylet" in (p.info["name"] or "")}
    answers = []
    environment = os.environ | {"PYTHONPATH": str(Path(pw.__file__).parents[1])}
    for engine_options in (["--engine", "ray", "--workers", "2"], ["--engine", "local"]):
        answers.append(
            subprocess.run([*command, *engine_options], cwd=tmp_path, env=environment, capture_output=True, text=True)
        )
        assert answers[-1].returncode == 0, answers[-1].stderr
    assert answers[0].stdout == answers[1].stdout and answers[0].stdout.count("\n") == 101
    assert {p.pid for p in psutil.process_iter(["name"]) if "raylet" in (p.info["name"] or "")} == before


class TestWithOneRay:
    """Ray takes long to start: these share one session, as a program does that has called `ray.init` itself."""

    pytestmark = slow

    @pytest.fixture(scope="class", autouse=True)
    def session(self):
        pytest.importorskip("ray")
        with ray_engine.cluster(2, None) as ray:
            yield ray

    @pytest.mark.parametrize("name", ["badge", "base", "kmeans", "margin"])
    def test_every_kind_of_strategy(self, tmp_path, name):
        question = asked(tmp_path) | {"head_weight": np.random.default_rng(1).normal(size=(9, 48)).astype(np.float32)}
        one = pw.select(name, batch_size=100, seed=4, **question)
        split = pw.select(name, batch_size=100, seed=4, engine="ray", workers=2, **question)
        assert np.array_equal(one.indices, split.indices)

    def test_a_killed_actor_is_replaced(self, tmp_path):
        psutil = pytest.importorskip("psutil")
        question = asked(tmp_path)
        one = pw.select("coreset", batch_size=900, **question)
        killed = []

        def kill_one(what, done, total):
            found = psutil.process_iter(["cmdline"])  # None for those that are gone already
            actors = [p for p in found if "ray::RankActor" in " ".join(p.info["cmdline"] or [])]
            if not killed and actors:
                killed.append(actors[-1].pid)
                os.kill(actors[-1].pid, signal.SIGKILL)

        with pw.progress.listening(kill_one):
            two = pw.select("coreset", batch_size=900, engine="ray", workers=2, **question)
        assert killed and np.array_equal(one.indices, two.indices) and two.notes["restarts"] >= 1

    def test_map_gives_every_answer_and_survives_a_killed_task(self, tmp_path, session):
        items = [(x, str(tmp_path / f"died-{x}")) for x in (1, 3, 5)]
        answers = dict(engine.map(square_after_dying_once, items, engine="ray", workers=2))
        assert answers == {0: 1, 1: 9, 2: 25} and (tmp_path / "died-3").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_is_not_there_is_named(tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(EngineError, match=r"cannot reach Ray at 127\.0\.0\.1:1 .*--address"):
        pw.select("coreset", batch_size=3, engine="ray", workers=2, address="127.0.0.1:1", **asked(tmp_path))
