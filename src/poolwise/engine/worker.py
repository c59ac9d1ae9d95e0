"""A rank in a process of its own: `python -m poolwise.engine.worker`, started by `processes.py`.

The job comes in on stdin, news and the result go out on stdout, both as frames: 8 bytes of length, then a packed
value. The end of stdin means that whoever started this process is gone; then it ends too.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

from poolwise import progress
from poolwise.engine.calls import as_failure
from poolwise.engine.plan import open_job
from poolwise.engine.rank import run_rank
from poolwise.engine.torch_dist import TorchCommunicator
from poolwise.engine.wire import Bytes, pack, unpack
from poolwise.errors import PoolwiseError

TELL_EVERY_S = 0.2

Emit = Callable[[tuple[Any, ...]], None]


def read_frame(stream: BinaryIO) -> Any:
    """Read one value; None at the end of the stream."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    size = int.from_bytes(head, "little")
    data = bytearray(stream.read(size))
    return unpack(np.frombuffer(data, dtype=np.uint8)) if len(data) == size else None


def write_frame(stream: BinaryIO, value: Any) -> None:
    """Write one value."""
    data: Bytes = pack(value)
    stream.write(len(data).to_bytes(8, "little"))
    stream.write(data.data)
    stream.flush()


def run_setup(setup: Mapping[str, Any], emit: Emit) -> None:
    """Run one rank; rank 0 emits ("progress", what, done, total), ("picks", ids), and at last ("result", picks).

    An error that poolwise raises on purpose is emitted as ("failure", (class, message)).
    """
    last = 0.0

    def tell(what: str, done: int, total: int) -> None:
        nonlocal last
        if done >= total or time.monotonic() - last > TELL_EVERY_S:
            last = time.monotonic()
            emit(("progress", what, done, total))

    comm = TorchCommunicator(
        setup["rank"],
        setup["size"],
        setup["meeting_place"],
        backend=setup["backend"],
        timeout_s=setup["timeout_s"],
    )
    try:
        with progress.listening(tell if comm.rank == 0 else _say_nothing):
            picks = run_rank(comm, lambda: open_job(setup["job"], lambda ids: emit(("picks", ids))), setup["device"])
        if picks is not None:
            emit(("result", picks))
    except PoolwiseError as error:
        emit(("failure", as_failure(error)))
    comm.barrier()
    comm.close()


def _say_nothing(what: str, done: int, total: int) -> None:
    pass


def _end_with_parent(stream: BinaryIO) -> None:
    stream.read()
    os._exit(3)


def main() -> None:
    """Run the rank that is described on stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this process decides
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the frames
    setup = read_frame(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, args=(sys.stdin.buffer,), daemon=True).start()
    lock = threading.Lock()

    def emit(value: tuple[Any, ...]) -> None:
        with lock:
            write_frame(out, value)

    run_setup(setup, emit)
    out.flush()
    os._exit(0)  # the thread that reads stdin would hold up an ordinary end


if __name__ == "__main__":
    main()
