"""The same task for many items, over processes of this machine or over Ray."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, TypeVar

from poolwise.engine import ray as ray_engine
from poolwise.engine.door import check_settings
from poolwise.engine.processes import THREAD_VARIABLES
from poolwise.errors import EngineError, unknown_name

Item = TypeVar("Item")
Answer = TypeVar("Answer")

ATTEMPTS = 3


def map_tasks(
    task: Callable[[Item], Answer],
    items: Sequence[Item],
    *,
    engine: str = "processes",
    workers: int = 2,
    address: str | None = None,
) -> Iterator[tuple[int, Answer]]:
    """Do a task for every item; answers come as they are ready.

    Parameters
    ----------
    task : a function of a module, for other processes import it by name; run with one BLAS thread. It may be run
        again for an item if its process dies.
    items : (n,) what the task gets; small, such as paths and row ranges
    engine : "local" (threads), "processes" or "ray"
    workers : tasks at a time; on a Ray cluster, the processors asked of this machine's own Ray
    address : of a running Ray cluster

    Yields
    ------
    (position of the item, answer)

    Raises
    ------
    What a task raises, and EngineError if processes die again and again. What was yielded before stays valid.
    """
    check_settings(engine, workers, address)
    maps: dict[str, Callable[..., Iterator[tuple[int, Answer]]]] = {
        "local": _over_threads,
        "processes": _over_processes,
        "ray": _over_ray,
    }
    if engine not in maps:
        raise unknown_name("engine", engine, maps)
    yield from maps[engine](task, items, workers, address)


def _over_threads(
    task: Callable[[Item], Answer], items: Sequence[Item], workers: int, address: str | None
) -> Iterator[tuple[int, Answer]]:
    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(task, item): position for position, item in enumerate(items)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _over_processes(
    task: Callable[[Item], Answer], items: Sequence[Item], workers: int, address: str | None
) -> Iterator[tuple[int, Answer]]:
    left = dict(enumerate(items))
    for _ in range(ATTEMPTS):
        try:
            for position, answer in _in_one_pool(task, left, workers):
                del left[position]
                yield position, answer
            return
        except BrokenProcessPool as error:
            lost = error
    raise EngineError(
        f"a worker process died, {ATTEMPTS} times in a row, perhaps for lack of memory; {len(left)} of {len(items)} "
        "tasks are not done. Run the same command again, with fewer workers."
    ) from lost


def _in_one_pool(task: Callable[[Item], Answer], left: dict[int, Item], workers: int) -> Iterator[tuple[int, Answer]]:
    with one_thread(), ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(task, item): position for position, item in left.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _over_ray(
    task: Callable[[Item], Answer], items: Sequence[Item], workers: int, address: str | None
) -> Iterator[tuple[int, Answer]]:
    with ray_engine.cluster(workers, address, threads=1) as ray:
        remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(task)
        running: dict[Any, int] = {remote.remote(item): position for position, item in enumerate(items)}
        try:
            while running:
                done, _ = ray.wait(list(running), num_returns=1)
                yield running.pop(done[0]), _ray_answer(ray, done[0])
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def _ray_answer(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from None
    except ray.exceptions.RayError as error:
        raise EngineError(
            f"a Ray task was lost {ATTEMPTS} times ({str(error).strip().splitlines()[0][:200]}). "
            "Run the same command again, with fewer workers."
        ) from error


@contextmanager
def one_thread() -> Iterator[None]:
    """Let processes started inside the block begin with one BLAS thread."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
