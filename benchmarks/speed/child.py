"""What runs in a process of its own: one case, one point of a curve, one cell of the reach table.

python -m benchmarks.speed.child OUTPUT.json case NAME [--repeats 3] [--tiny]
python -m benchmarks.speed.child OUTPUT.json curve NAME VALUE
python -m benchmarks.speed.child OUTPUT.json reach NAME ROWS
python -m benchmarks.speed.child OUTPUT.json features STRATEGY DATA_DIR
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.peers.packages import PIP_NAMES
from benchmarks.speed.case import Case, Trial
from benchmarks.speed.measure import Cost, environment, measured
from poolwise.kernels import coarse

SHORT_S = 1.5
"""Short cases are repeated until they have used so much processor time, `MOST` times at most."""

MOST = 25


def run_case(case: Case, *, repeats: int = 3, tiny: bool = False) -> dict[str, Any]:
    """Measure one case here and now.

    Returns
    -------
    A record for the table; its `status` is "ok", "wrong" (answers differ), or "not installed".
    """
    record: dict[str, Any] = {
        "name": case.name,
        "task": case.task,
        "against": case.against,
        "data": case.data,
        "required": case.required,
    }
    if case.needs and importlib.util.find_spec(case.needs) is None:
        return {**record, "status": "not installed", "text": f"pip install {PIP_NAMES.get(case.needs, case.needs)}"}
    coarse.load()  # and `compiled`, as in a process that has chosen often: see the page
    warm = case.build(**case.tiny)
    for call in (warm.fast, warm.peer, warm.shorter, warm.floor):
        if call is not None:
            call()
    trial = case.build(**(case.tiny if tiny else case.size))
    return {**record, **measure(trial, repeats), "load": round(os.getloadavg()[0], 1)}


def measure(trial: Trial, repeats: int) -> dict[str, Any]:
    """Run both sides in turn, keep the least processor time of each, and compare the last answers."""
    fast, peer, shorter, floor = (_Side(call) for call in (trial.fast, trial.peer, trial.shorter, trial.floor))
    start = time.process_time()
    done = 0
    while done < repeats or (done < MOST and time.process_time() - start < SHORT_S):
        for side in (fast, peer, shorter, floor):
            side.run(memory=done == 0)
        done += 1
    check = trial.check(fast.answer, peer.answer)
    peer_s = trial.whole(peer.best.cpu_s, shorter.best.cpu_s)
    return {
        "status": "ok" if check.passed else "wrong",
        "text": check.text,
        "ratio": peer_s / fast.best.cpu_s,
        **({} if trial.floor is None else {"floor": peer_s / floor.best.cpu_s}),
        "fast": asdict(fast.best),
        "peer": {**asdict(peer.best), "cpu_s": peer_s, "measured_s": peer.best.cpu_s},
        "repeats": done,
    }


class _Side:
    """A call that is repeated: its answer, the least times, and the memory of the first run."""

    def __init__(self, call: Callable[[], Any] | None) -> None:
        self.call = call
        self.answer: Any = None
        self.best = Cost(cpu_s=float("inf"), wall_s=float("inf")) if call else Cost()

    def run(self, *, memory: bool) -> None:
        if self.call is None:
            return
        self.answer = None
        with measured(memory=memory) as cost:
            self.answer = self.call()
        self.best.cpu_s = min(self.best.cpu_s, cost.cpu_s)
        self.best.wall_s = min(self.best.wall_s, cost.wall_s)
        if memory:
            self.best.memory, self.best.before = cost.memory, cost.before


def _run(given: argparse.Namespace) -> dict[str, Any]:
    if given.kind == "case":
        from benchmarks.speed.cases import CASES

        case = next(case for case in CASES if case.name == given.name)
        return run_case(case, repeats=given.repeats, tiny=given.tiny)
    if given.kind == "curve":
        from benchmarks.speed.scaling import CURVES, measure_point

        return measure_point(next(c for c in CURVES if c.name == given.name), int(given.value), given.repeats)
    if given.kind == "reach":
        from benchmarks.speed.reach import METHODS, measure_method

        return measure_method(next(m for m in METHODS if m.name == given.name), int(given.value))
    from benchmarks.speed.features import load, measure_strategy

    x = load(Path(given.value))
    if x is None:
        return {"status": "no data"}
    return measure_strategy(x, given.name, repeats=given.repeats)


def main() -> None:
    """Do what the command line says, and write the answer as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("kind", choices=["case", "curve", "reach", "features"])
    parser.add_argument("name")
    parser.add_argument("value", nargs="?")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of peers
    given.output.write_text(json.dumps({**_run(given), "environment": environment()}))


if __name__ == "__main__":
    main()
