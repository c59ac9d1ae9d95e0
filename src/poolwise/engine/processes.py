"""Ranks in processes of this machine, which are watched and never outlive the selection."""

from __future__ import annotations

import importlib.util
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import poolwise
from poolwise.engine.places import spill_to
from poolwise.engine.plan import Plan, Settings
from poolwise.engine.supervise import News, Tell
from poolwise.engine.torch_dist import loopback
from poolwise.engine.worker import read_frame, write_frame
from poolwise.errors import OptionError, WorkerLostError, missing_extra
from poolwise.types import IndexArray, Picks

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
GRACE_S = 5.0

QUIET = ("-W", "ignore::RuntimeWarning:runpy")
"""Options of Python: that the module to run is imported by its own package is no news, but it was a log's last line."""


def setups(
    plan: Plan, before: IndexArray, scratch: Path, settings: Settings, meeting_place: str
) -> list[dict[str, Any]]:
    """Say to each rank who it is and what to do."""
    messages = plan.messages(before, spill_to(scratch))
    backend = chosen_backend(settings, plan.device, len(messages))
    return [
        {
            "rank": rank,
            "size": len(messages),
            "meeting_place": meeting_place,
            "backend": backend,
            "timeout_s": settings.timeout_s,
            "device": plan.device,
            "job": message,
        }
        for rank, message in enumerate(messages)
    ]


def chosen_backend(settings: Settings, device: str | None, workers: int) -> str:
    """Choose between gloo and nccl.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    OptionError
        If nccl is asked for and there are fewer GPUs than ranks.
    """
    if importlib.util.find_spec("torch") is None:
        raise missing_extra("torch", "torch", "selection over several processes")
    if settings.collectives == "gloo" or (settings.collectives == "auto" and not str(device).startswith("cuda")):
        return "gloo"
    import torch

    enough = torch.distributed.is_nccl_available() and torch.cuda.device_count() >= workers
    if settings.collectives == "nccl" and not enough:
        raise OptionError(
            f"nccl needs one GPU for each of {workers} workers; this machine has {torch.cuda.device_count()}. "
            'Use collectives="gloo".'
        )
    return "nccl" if enough else "gloo"


def launch(plan: Plan, before: IndexArray, scratch: Path, settings: Settings, tell: Tell) -> Picks:
    """Run all ranks and return what rank 0 chose.

    Raises
    ------
    WorkerLostError
        If a process ends before its time.
    """
    number = len(list(scratch.glob("meeting-*")))
    meeting = scratch / f"meeting-{number}"
    meeting.mkdir()
    says = setups(plan, before, scratch, settings, f"file://{meeting / 'place'}")
    with started(len(says), meeting) as processes:
        news: queue.Queue[Any] = queue.Queue()
        for process, setup in zip(processes, says, strict=True):
            threading.Thread(target=_talk, args=(process, setup, news), daemon=True).start()
        heard = News(tell)
        while heard.result is None:
            try:
                heard.take(news.get(timeout=0.05))
            except queue.Empty:
                _check_alive(processes, meeting)
        for process in processes:
            with _patience():
                process.wait(GRACE_S)
    return heard.result


@contextmanager
def _patience() -> Iterator[None]:
    """A rank that takes long to say goodbye is ended by `started`; the result is there."""
    try:
        yield
    except subprocess.TimeoutExpired:
        return


def _talk(process: subprocess.Popen[bytes], setup: Mapping[str, Any], news: queue.Queue[Any]) -> None:
    """Hand a process its job, and pass on what it says until it ends."""
    try:
        write_frame(cast(BinaryIO, process.stdin), setup)
        while (frame := read_frame(cast(BinaryIO, process.stdout))) is not None:
            news.put(frame)
    except (OSError, ValueError):
        return  # the process is gone, which its exit status says


@contextmanager
def started(count: int, logs: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start worker processes; whatever happens inside the block, none is left after it."""
    environment = dict(os.environ)
    for name in THREAD_VARIABLES:
        environment.setdefault(name, str(max(1, (os.cpu_count() or 1) // count)))
    if sys.platform != "win32":
        environment.setdefault("GLOO_SOCKET_IFNAME", loopback())
    here = str(Path(poolwise.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [here, environment.get("PYTHONPATH")]))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(count):
            with (logs / f"worker-{rank}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, *QUIET, "-m", "poolwise.engine.worker"],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=log,
                        env=environment,
                        start_new_session=True,  # ctrl-C reaches this process, which ends the others
                    )
                )
        yield processes
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
        for process in processes:
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    _close(stream)


def _close(stream: Any) -> None:
    try:
        stream.close()
    except OSError:
        return  # what was left to write has no reader any more


def _check_alive(processes: Sequence[subprocess.Popen[bytes]], logs: Path) -> None:
    """Raise if a process failed; the one that was killed is named, not those that failed in consequence."""
    if all(process.poll() in (None, 0) for process in processes):
        return
    time.sleep(0.3)
    codes = [process.poll() for process in processes]
    failed = [rank for rank, code in enumerate(codes) if code not in (None, 0)]
    rank = min(failed, key=lambda r: (codes[r] or 0) >= 0)
    code = codes[rank] or 0
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    raise WorkerLostError(f"worker {rank + 1} of {len(processes)} {how}{_last_words(logs / f'worker-{rank}.log')}")


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f" ({lines[-1][:300]})" if lines else ""
