"""Queries pools until it is killed: run as a script, driven line by line over stdin by test_crashes.py.

A line is "PATH DELAY"; the query with its audit slice runs in a fork that gets SIGKILL after DELAY seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from poolwise.pool import Pool


def query_and_kill(path: str, delay_s: float) -> None:
    child = os.fork()
    if child == 0:
        Pool.open(path).query("margin", batch_size=40)
        os._exit(0)
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


if __name__ == "__main__":
    Pool.open(sys.argv[1]).fit()  # imported and compiled lazily; else the first fork would spend its life on it
    print("ready", flush=True)
    for line in sys.stdin:
        where, delay = line.split()
        query_and_kill(where, float(delay))
        print("done", flush=True)
