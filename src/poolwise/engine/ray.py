"""Ranks as Ray actors: Ray finds the machines and starts the ranks, which then talk through torch.distributed.

Without an address a private Ray is started on this machine, offline, without dashboard and usage statistics, and
shut down afterwards. Another cluster is used only if its address is given.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import poolwise
from poolwise.engine.plan import Plan, Settings
from poolwise.engine.processes import THREAD_VARIABLES, setups
from poolwise.engine.supervise import News, Tell
from poolwise.engine.torch_dist import loopback
from poolwise.engine.worker import run_setup
from poolwise.errors import EngineError, WorkerLostError, missing_extra
from poolwise.types import IndexArray, Picks

POLL_S = 0.2
START_ATTEMPTS = 4
"""Ray gives its own processes 30 s to find each other, which a busy machine may not manage."""

KNOCK_S = 10.0
STORE_BYTES = 128 * 2**20
"""Ray's own object store; arrays do not pass through it."""


@contextmanager
def cluster(workers: int, address: str | None, *, threads: int | None = None) -> Iterator[Any]:
    """Give the module `ray`, connected; what was started here is shut down at the end.

    A Ray session that this process has begun itself is used, and left as it is. `threads` is how many a process of a
    private Ray may use for arithmetic; default: an equal share of the processors.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    EngineError
        If there is no cluster at the address.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise missing_extra("ray", "ray", "--engine ray") from error
    if ray.is_initialized():
        yield ray
        return
    settings: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        settings |= {"address": "local", "include_dashboard": False, "num_cpus": max(workers, os.cpu_count() or 1)}
        settings |= {"object_store_memory": STORE_BYTES, "runtime_env": {"env_vars": _environment(workers, threads)}}
    else:
        settings["address"] = address
        _knock(address)
    _connect(ray, settings, attempts=1 if address else START_ATTEMPTS)
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Fail at once where nobody answers; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return  # a name such as "auto", which Ray looks up
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()
    except (OSError, OverflowError) as error:
        raise EngineError(
            f"cannot reach Ray at {address} ({error}). "
            "Give --address HOST:PORT of a running cluster, or leave it out to start Ray here."
        ) from error


def _connect(ray: Any, settings: Mapping[str, Any], attempts: int) -> None:
    """Connect to Ray; on a busy machine its own processes may wait too long for each other, so a start is repeated."""
    for _ in range(attempts):
        try:
            ray.init(**settings)
            return
        except Exception as error:  # Ray raises many kinds
            ray.shutdown()
            cause = error
    where, reason = settings["address"], str(cause).strip().splitlines() or [type(cause).__name__]
    raise EngineError(
        f"cannot reach Ray at {'this machine' if where == 'local' else where} ({reason[0][:300]}). "
        "Give --address HOST:PORT of a running cluster, or leave it out to start Ray here."
    ) from cause


def _environment(workers: int, threads: int | None) -> dict[str, str]:
    """What the processes of a private Ray need to know."""
    here = str(Path(poolwise.__file__).parents[1])
    found = {"PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))}
    share = str(max(1, (os.cpu_count() or 1) // workers))
    found |= {name: str(threads) if threads else os.environ.get(name, share) for name in THREAD_VARIABLES}
    return found | {"GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", loopback())}


class RankActor:
    """One rank; `news` may be called while `run` is at work."""

    def __init__(self) -> None:
        self.frames: list[tuple[Any, ...]] = []

    def meeting_place(self, private: bool) -> str:
        """Offer a free port of this machine for the ranks to meet at."""
        import ray

        host = "127.0.0.1" if private else ray.util.get_node_ip_address()
        with socket.socket() as found:
            found.bind(("", 0))
            return f"tcp://{host}:{found.getsockname()[1]}"

    def run(self, setup: Mapping[str, Any], meeting_place: str) -> None:
        """Run the rank from beginning to end."""
        run_setup({**setup, "meeting_place": meeting_place}, self.frames.append)

    def news(self) -> list[tuple[Any, ...]]:
        """Return what the rank has said since the last time."""
        count = len(self.frames)
        found, self.frames[:count] = self.frames[:count], []
        return found


def launch(plan: Plan, before: IndexArray, scratch: Path, settings: Settings, tell: Tell) -> Picks:
    """Run all ranks and return what rank 0 chose.

    Raises
    ------
    WorkerLostError
        If an actor ends before its time.
    """
    says = setups(plan, before, scratch, settings, "")
    with cluster(len(says), settings.address) as ray:
        gpus = 1 if says[0]["backend"] == "nccl" else 0
        kind = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, max_concurrency=2)(RankActor)
        actors = [kind.remote() for _ in says]
        try:
            return _watched(ray, actors, says, settings, tell)
        finally:
            for actor in actors:
                ray.kill(actor)


def _watched(ray: Any, actors: list[Any], says: list[dict[str, Any]], settings: Settings, tell: Tell) -> Picks:
    heard = News(tell)
    try:
        wait = settings.timeout_s
        place = ray.get(actors[0].meeting_place.remote(settings.address is None), timeout=wait)
        running = [actor.run.remote(say, place) for actor, say in zip(actors, says, strict=True)]
        left = list(running)
        while left:
            done, left = ray.wait(left, num_returns=len(left), timeout=POLL_S)
            for frame in ray.get(actors[0].news.remote(), timeout=wait):
                heard.take(frame)
            ray.get(done)
    except ray.exceptions.RayActorError as error:
        raise WorkerLostError(f"a Ray worker was lost ({_first_line(error)})") from error
    except ray.exceptions.RayTaskError as error:
        raise _lost(ray, running, error) from error
    except ray.exceptions.GetTimeoutError as error:
        raise EngineError(
            f"Ray gave no worker within {settings.timeout_s:.0f} s; {len(says)} are needed at once. "
            "Ask for fewer workers (--workers)."
        ) from error
    assert heard.result is not None
    return heard.result


def _lost(ray: Any, running: list[Any], error: Exception) -> EngineError:
    """Name the actor that died rather than one that failed in consequence."""
    for rank, reference in enumerate(running):
        try:
            ray.get(reference, timeout=2)
        except ray.exceptions.RayActorError:
            return WorkerLostError(f"worker {rank + 1} of {len(running)}, a Ray actor, was lost")
        except Exception:  # it lost touch with the one that died
            continue
    return WorkerLostError(f"a Ray worker failed ({str(error).strip().splitlines()[-1][:300]})")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300]
