"""Measure what a device computes at ImageNet's size: each primitive on rows that lie there, and whole selections.

    python -m benchmarks.speed.device --device cuda         # needs 6 GB of disk; writes benchmarks/results/device.md
    python -m benchmarks.speed.device --device cpu --tiny   # a try on the processor in seconds, printed only

The limits are those of one H200 (4.3 TB/s, bf16 where a product allows it): poolwise computes in float32 without TF32,
so that batches stay those of the processor, and float32 products have about a tenth of the speed. A row of the table
with no time has no code on the device. Times are the least of three after a warm-up; selections include reading and
sending the file. With `--check` (always with `--tiny`) every selection is made on the processor too, and must be the
same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import poolwise as pw
from benchmarks.speed import imagenet, table
from benchmarks.speed.measure import environment
from poolwise.kernels import backend, device, scores_device
from poolwise.kernels.blocks import LinearLogits
from poolwise.kernels.device import DeviceRows, least, send
from poolwise.kernels.envelope_device import There, nearest_sq
from poolwise.kernels.scores import Boundaries

RESULT = imagenet.RESULTS / "device.md"
FULL = (imagenet.N, imagenet.D, imagenet.C, imagenet.B)
TINY = (6000, 64, 20, 200)
STRATEGIES = ("margin", "entropy", "mase", "badge", "coreset")
REPEATS = 3
WITHOUT = (
    ("k-means, 10,000 centres, one iteration", 0.07),
    ("exact neighbours of every row", 9.0),
)
"""Primitives that no code on the device computes, and their limits (s)."""


def primitives(rows: Any, weight: Any, bias: Any, count: int) -> list[tuple[str, float, float | None]]:
    """Time each primitive over all rows: name, seconds, limit of an H200 in seconds."""
    n, width = rows.shape
    torch, found = backend.torch(), []
    there = DeviceRows(lambda pos: device.read_stored(rows, pos), (n, width), np.dtype(rows.dtype))

    def over_all(work: Callable[[Any], Any]) -> float:
        return least_time(lambda: [work(x) for _, x in there.blocks()])

    start = time.perf_counter()
    for _ in there.blocks():
        pass
    wait()
    found.append(("sending the rows, first pass", time.perf_counter() - start, None))
    found.append(("one pass over the rows" + (", held" if there.held is not None else ", sent"), over_all(len), None))
    head = LinearLogits(rows, weight, bias)
    nearest = scores_device.NearestBoundary(Boundaries(weight))
    block = head.there(next(there.blocks())[1])
    share = n / len(block)
    found.append(("margin of N x C logits", share * least_time(lambda: scores_device.margin(block)), 0.6e-3))
    found.append(("entropy of N x C logits", share * least_time(lambda: scores_device.entropy(block)), 0.6e-3))
    found.append(("logits and margin", over_all(lambda x: scores_device.margin(head.there(x))), 7e-3))
    found.append(("logits and nearest boundary (MASE)", over_all(lambda x: nearest(head.there(x))), 7e-3))
    centres = send(rows[np.linspace(0, n - 1, count).astype(np.int64)].astype(np.float32))
    sq = (centres * centres).sum(dim=1)
    one = over_all(lambda x: least(x, centres[:1], sq[:1]))
    found.append((f"k-center, a pass for each of {count:,} picks", count * one, 12.0))
    found.append(("k-center, all pairs in blocks", over_all(lambda x: least(x, centres, sq)), 0.07))
    few = slice(0, min(count, 1000))
    p = head.there(centres[few]).softmax(dim=1)
    p[torch.arange(len(p)), p.argmax(dim=1)] -= 1
    chosen = There(centres[few], (p * p).sum(dim=1) * sq[few], p)

    def compare(x: Any) -> Any:
        e = head.there(x).softmax(dim=1)
        return nearest_sq(There(x, (e * e).sum(dim=1) * (x * x).sum(dim=1), e, e.argmax(dim=1)), chosen)

    found.append((f"BADGE, one refresh with {len(p):,} picks", over_all(compare), None))
    return found


def selections(folder: Path, name: str, count: int, check: bool) -> list[tuple[str, float, str, bool | None]]:
    """Time whole selections: strategy, wall seconds, what the device did, whether the processor chooses the same."""
    rows = np.load(folder / "embeddings.npy", mmap_mode="r")
    with np.load(folder / "head.npz", allow_pickle=False) as file:
        head = {"head_weight": file["weight"], "head_bias": file["bias"]}
    found = []
    for strategy in STRATEGIES:
        given = {"embeddings": rows, "batch_size": count} | ({} if strategy == "coreset" else head)
        pw.select(strategy, **{**given, "embeddings": rows[:2000], "batch_size": 10}, device=name)  # warm-up
        start = time.perf_counter()
        there = pw.select(strategy, **given, device=name)
        spent = time.perf_counter() - start
        same = there.indices.tolist() == pw.select(strategy, **given).indices.tolist() if check else None
        found.append((strategy, spent, str(there.notes["device"]), same))
        print(f"{strategy}: {table.seconds(spent)}", file=sys.stderr, flush=True)
    return found


def least_time(work: Callable[[], Any]) -> float:
    """Least of some wall times, each until the device is done, after a warm-up."""
    work()
    times = []
    for _ in range(REPEATS):
        wait()
        start = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - start)
    return min(times)


def wait() -> None:
    """Wait until the device has nothing left to do."""
    if device.is_gpu(backend.device()):
        backend.torch().cuda.synchronize(backend.device())


def name_of(device_name: str) -> str:
    """Say which machine that is."""
    if not device.is_gpu(device_name):
        return "the processor, through torch"
    return str(backend.torch().cuda.get_device_name(device_name))


def page(size: Sequence[int], machine: str, parts: Sequence[Any], whole: Sequence[Any]) -> str:
    """The page of results."""
    n, d, c, b = size
    lines = [
        [name, table.seconds(spent), "-" if limit is None else table.seconds(limit), verdict(spent, limit, size)]
        for name, spent, limit in parts
    ]
    lines += [[name, "-", table.seconds(limit), "not on the device"] for name, limit in WITHOUT]
    answer = {True: "yes", False: "NO", None: "not checked"}
    return "\n".join(
        [
            "# On a device",
            "",
            f"{n:,} rows x {d} float16, a head of {c} classes, {b:,} picks, on {machine}. Made by "
            f"`python -m benchmarks.speed.device`. {environment_line()}",
            "",
            "Limits are those of one H200 with bf16 products; all of this is float32 without TF32.",
            "",
            table.markdown(["primitive", "time", "limit", ""], lines),
            "",
            table.markdown(
                ["selection", "wall, reading included", "on the device", "same as the processor's"],
                [[name, table.seconds(spent), what, answer[same]] for name, spent, what, same in whole],
            ),
            "",
        ]
    )


def verdict(spent: float, limit: float | None, size: Sequence[int] = FULL) -> str:
    """Within the limit, or how far above it; nothing for a pool of another size than the limit is for."""
    if limit is None or tuple(size) != FULL:
        return ""
    return "within" if spent <= limit else f"{spent / limit:.3g} times the limit"


def environment_line() -> str:
    """Versions and processor, in one line."""
    facts = environment()
    known = {key: value for key, value in facts.items() if isinstance(value, str | int)}
    known["torch"] = str(backend.torch().__version__)
    return ", ".join(f"{key}: {value}" for key, value in known.items()) + "."


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the file if it is not there, measure, print, and write the page if a GPU was measured in full."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolwise-device")
    parser.add_argument("--keep", action="store_true", help="leave the file for another run, which then uses it")
    parser.add_argument("--tiny", action="store_true", help="6000 rows, in seconds")
    parser.add_argument("--check", action="store_true", help="choose on the processor too; takes minutes")
    given = parser.parse_args(arguments)
    size = TINY if given.tiny else FULL
    with backend.on(given.device):
        machine = name_of(given.device)  # before gigabytes are written for a device that is not there
    folder = given.folder / "x".join(map(str, size[:3]))
    if not (folder / "embeddings.npy").exists():
        imagenet.make(folder, *size[:3])
    rows = np.load(folder / "embeddings.npy", mmap_mode="r")
    with np.load(folder / "head.npz", allow_pickle=False) as file:
        weight, bias = file["weight"], file["bias"]
    with backend.on(given.device):
        parts = primitives(rows, weight, bias, size[3])
    whole = selections(folder, given.device, size[3], given.check or given.tiny)
    if not given.keep:
        for name in ("embeddings.npy", "head.npz"):
            (folder / name).unlink()
        folder.rmdir()
    text = page(size, machine, parts, whole)
    print(text)
    if device.is_gpu(given.device) and not given.tiny:
        RESULT.write_text(text, encoding="utf-8")
    return int(any(same is False for *_, same in whole))


if __name__ == "__main__":
    raise SystemExit(main())
