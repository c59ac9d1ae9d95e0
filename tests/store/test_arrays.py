"""The promise of an array: row i is item i, a part is visible only when all of it is on disk, rows never change."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poolwise.errors import (
    ArrayMissingError,
    CorruptArrayError,
    InputError,
    PoolVersionError,
    ShapeError,
    StoreError,
)
from poolwise.kernels.blocks import load_rows
from poolwise.store import files
from poolwise.store.arrays import PoolArrays, array_name, float16_loss, open_rows

NAME = "embeddings@3f2a9c01d2e4"


@pytest.fixture
def arrays(tmp_path: Path) -> PoolArrays:
    return PoolArrays(tmp_path / "birds.pool" / "arrays")


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(100, 6)).astype(np.float32)


def part_files(arrays: PoolArrays, name: str = NAME) -> list[Path]:
    return sorted((arrays.root / name).glob("part-*.npy"))


def test_parts_written_in_any_order_read_back_as_one_float16_array(arrays: PoolArrays, x: np.ndarray) -> None:
    for start in (40, 0, 80, 20, 60):
        arrays.write_part(NAME, start, x[start : start + 20], producer={"model": "m"})
    rows = arrays.read(NAME, 100)
    assert rows.shape == (100, 6)
    assert rows.dtype == np.float16
    assert np.array_equal(load_rows(rows), x.astype(np.float16).astype(np.float32))
    info = arrays.info(NAME)
    assert (info.complete_rows, info.finite, info.producer) == (100, True, {"model": "m"})
    arrays.verify(NAME)


def test_parts_are_plain_npy_files_that_numpy_reads(arrays: PoolArrays, x: np.ndarray) -> None:
    arrays.write_part(NAME, 0, x, dtype=np.float32)
    (path,) = part_files(arrays)
    assert np.array_equal(np.load(path, allow_pickle=False), x)
    manifest = json.loads((path.parent / "manifest.json").read_text())
    assert manifest["complete_rows"] == 100
    assert manifest["finite"] is True


def test_rows_are_read_only_maps(arrays: PoolArrays, x: np.ndarray) -> None:
    arrays.write_part(NAME, 0, x)
    rows = arrays.read(NAME)
    assert isinstance(rows, np.memmap)
    assert not rows.flags.writeable


def test_an_array_is_complete_up_to_its_first_gap(arrays: PoolArrays, x: np.ndarray) -> None:
    assert arrays.missing_rows(NAME, 10) == [range(10)]
    assert arrays.missing_rows(NAME, 0) == []
    arrays.write_part(NAME, 0, x[:10])
    arrays.write_part(NAME, 30, x[30:40])
    assert arrays.info(NAME).complete_rows == 10
    assert arrays.read(NAME).shape == (10, 6)
    assert arrays.missing_rows(NAME, 50) == [range(10, 30), range(40, 50)]
    assert arrays.missing_rows(NAME, 35) == [range(10, 30)]
    assert arrays.missing_rows(NAME, 10) == []
    assert arrays.read(NAME, 7).shape == (7, 6)
    with pytest.raises(ArrayMissingError, match=r"lacks rows 10 to 29 \(it has 20 of 50 rows\).*poolwise embed"):
        arrays.read(NAME, 50)


def test_a_missing_array_is_named_with_those_there_are(arrays: PoolArrays, x: np.ndarray) -> None:
    with pytest.raises(ArrayMissingError, match=r"pool 'birds\.pool' has no array 'logits'; it has none"):
        arrays.read("logits")
    arrays.write_part(NAME, 0, x)
    arrays.write_part("ood_scores", 0, x[:, 0], dtype="float32")
    with pytest.raises(ArrayMissingError, match=f"it has {NAME}, ood_scores"):
        arrays.read("logits")
    assert arrays.names() == [NAME, "ood_scores"]
    assert arrays.names("embeddings") == [NAME]
    assert arrays.names("embed") == []
    assert NAME in arrays
    assert "logits" not in arrays


def test_names_carry_the_digest_of_the_producer() -> None:
    assert array_name("embeddings", "3f2a9c01d2e4aaaa") == NAME


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a@b@c", "a b"])
def test_a_name_cannot_leave_the_directory(arrays: PoolArrays, x: np.ndarray, name: str) -> None:
    with pytest.raises(InputError, match="cannot name an array"):
        arrays.write_part(name, 0, x)


def test_writing_the_same_rows_again_changes_nothing(arrays: PoolArrays, x: np.ndarray) -> None:
    arrays.write_part(NAME, 0, x)
    before = arrays.info(NAME)
    arrays.write_part(NAME, 0, x)
    assert arrays.info(NAME) == before


def test_rows_never_change(arrays: PoolArrays, x: np.ndarray) -> None:
    arrays.write_part(NAME, 0, x[:20])
    for start, block in ((0, x[20:40]), (10, x[10:30])):
        with pytest.raises(StoreError, match=r"has other values for rows .* to 19; rows never change"):
            arrays.write_part(NAME, start, block)
    assert np.array_equal(arrays.read(NAME), x[:20].astype(np.float16))


def test_a_part_must_fit_the_others(arrays: PoolArrays, x: np.ndarray) -> None:
    arrays.write_part(NAME, 0, x)
    with pytest.raises(
        ShapeError, match=r"rows 100 to 199 of embeddings@.* are \(3,\) float16; .* hold \(6,\) float16"
    ):
        arrays.write_part(NAME, 100, x[:, :3])
    with pytest.raises(ShapeError, match="float32"):
        arrays.write_part(NAME, 100, x, dtype="float32")
    with pytest.raises(ShapeError, match="row -1"):
        arrays.write_part(NAME, -1, x)


def test_no_rows_make_no_part(arrays: PoolArrays) -> None:
    arrays.write_part(NAME, 0, np.empty((0, 6)))
    assert arrays.names() == []


def test_a_whole_array_is_swapped_at_once_and_old_readers_keep_theirs(arrays: PoolArrays, x: np.ndarray) -> None:
    arrays.write(NAME, x, dtype="float32", part_rows=30, producer={"by": "a"})
    assert len(part_files(arrays)) == 4
    old = arrays.read(NAME)
    with pytest.raises(StoreError, match="replace=True"):
        arrays.write(NAME, -x)
    arrays.write(NAME, -x, dtype="float32", replace=True, part_rows=50)
    assert np.array_equal(load_rows(arrays.read(NAME)), -x)
    assert np.array_equal(load_rows(old), x)


def test_a_removed_array_is_gone(arrays: PoolArrays, x: np.ndarray) -> None:
    arrays.write_part(NAME, 0, x)
    arrays.remove(NAME)
    arrays.remove(NAME)
    assert arrays.names() == []
    assert part_files(arrays) == []
    arrays.write_part(NAME, 0, -x)
    assert np.array_equal(arrays.read(NAME), (-x).astype(np.float16))


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, bool])
def test_whole_numbers_keep_their_type(arrays: PoolArrays, dtype: Any) -> None:
    values = np.arange(10).astype(dtype)
    arrays.write_part("groups", 0, values)
    assert arrays.read("groups").dtype == dtype
    assert np.array_equal(arrays.read("groups"), values)


def test_whole_numbers_that_do_not_fit_are_refused(arrays: PoolArrays) -> None:
    with pytest.raises(InputError, match="do not fit int8"):
        arrays.write_part("groups", 0, np.array([1, 300]), dtype="int8")
    with pytest.raises(InputError, match="cannot be stored"):
        arrays.write_part("groups", 0, np.array([1.5]), dtype="int64")
    with pytest.raises(InputError, match="cannot store float64"):
        arrays.write_part("groups", 0, np.array([1.5]), dtype="float64")
    with pytest.raises(InputError, match="cannot store <U1"):
        arrays.write_part("groups", 0, np.array(["a"]))


# --- values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_nan_and_inf_are_refused_with_the_row_and_nothing_is_written(
    arrays: PoolArrays, x: np.ndarray, bad: float, dtype: Any
) -> None:
    x[17, 2] = bad
    with pytest.raises(InputError, match="row 1017 holds NaN or inf"):
        arrays.write_part(NAME, 1000, x.astype(dtype), dtype=dtype)
    assert arrays.names() == []


def test_float16_holds_values_up_to_65504_and_no_more(arrays: PoolArrays, x: np.ndarray) -> None:
    x[0, 0] = 65504
    assert float16_loss(x) is None
    x[0, 0] = -65505
    with pytest.raises(InputError, match=r"rows 0 to 99 do not fit float16: a value of size 65505 .*float32"):
        arrays.write_part(NAME, 0, x)
    arrays.write_part(NAME, 0, x, dtype="float32")


def test_values_too_large_for_float32_are_refused(arrays: PoolArrays) -> None:
    with pytest.raises(InputError, match="do not fit float32"):
        arrays.write_part(NAME, 0, np.array([[1e300]]), dtype="float32")


def test_rows_below_the_range_of_float16_are_refused(arrays: PoolArrays, x: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"100 of 100 rows are so small .*float32"):
        arrays.write_part(NAME, 0, x * 1e-6)
    with pytest.raises(InputError, match="so small"):
        arrays.write_part("ood_scores", 0, np.abs(x[:, 0]) * 1e-6)


def test_small_values_beside_large_ones_are_harmless(rng: np.random.Generator) -> None:
    unit = rng.normal(size=(500, 768))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    assert (np.abs(unit) < 6e-5).mean() > 0.001  # text embeddings look like this
    error = np.linalg.norm(unit - unit.astype(np.float16), axis=1)
    assert error.max() < 3e-4
    assert float16_loss(unit) is None
    assert float16_loss(np.zeros((5, 3))) is None
    noise = np.concatenate([rng.normal(size=(50, 8)), 1e-9 * rng.normal(size=(50, 8))])
    assert float16_loss(noise) is None  # all but zero beside the others


# --- damage ---------------------------------------------------------------------------------------------------


def test_a_truncated_part_is_named_with_the_repair(arrays: PoolArrays, x: np.ndarray) -> None:
    arrays.write_part(NAME, 0, x[:50])
    arrays.write_part(NAME, 50, x[50:])
    path = part_files(arrays)[1]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    for read in (arrays.read, arrays.verify):
        with pytest.raises(CorruptArrayError, match=rf"{path.name}.*rows 50 to 99.*bytes, expected.*embed .*--repair"):
            read(NAME)
    assert arrays.drop_corrupt(NAME) == [range(50, 100)]
    assert arrays.missing_rows(NAME, 100) == [range(50, 100)]
    arrays.write_part(NAME, 50, x[50:])
    arrays.verify(NAME)
    assert arrays.read(NAME, 100).shape == (100, 6)


def test_a_missing_part_is_named(arrays: PoolArrays, x: np.ndarray) -> None:
    arrays.write_part(NAME, 0, x)
    part_files(arrays)[0].unlink()
    with pytest.raises(CorruptArrayError, match="it is missing"):
        arrays.read(NAME)


@pytest.mark.parametrize("offset", [0, 20, 127, 128, 700, -1])
def test_verify_finds_any_flipped_byte(arrays: PoolArrays, x: np.ndarray, offset: int) -> None:
    arrays.write_part(NAME, 0, x)
    (path,) = part_files(arrays)
    data = bytearray(path.read_bytes())
    data[offset] ^= 4
    path.write_bytes(data)
    with pytest.raises(CorruptArrayError, match="checksum"):
        arrays.verify(NAME)
    arrays.write_part(NAME, 0, x)  # writing the same rows again repairs the file
    arrays.verify(NAME)


def test_a_damaged_or_newer_manifest_is_explained(arrays: PoolArrays, x: np.ndarray) -> None:
    arrays.write_part(NAME, 0, x)
    path = arrays.root / NAME / "manifest.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "format": 2}))
    with pytest.raises(PoolVersionError, match="has format 2"):
        arrays.read(NAME)
    for text in ("{", "[]", "{}", json.dumps({**record, "parts": [{"file": "x"}]})):
        path.write_text(text)
        with pytest.raises(CorruptArrayError, match=r"is no manifest.*elsewhere move this file away"):
            arrays.read(NAME)


def test_leftovers_of_killed_writers_are_invisible_and_swept_after_a_day(arrays: PoolArrays, x: np.ndarray) -> None:
    arrays.write_part(NAME, 0, x[:50])
    fresh = arrays.root / NAME / "part-000000000050-00000000.npy"
    old = arrays.root / NAME / ".part-000000000050-11111111.npy.77.tmp"
    for path in (fresh, old):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert arrays.info(NAME).complete_rows == 50
    arrays.write_part(NAME, 50, x[50:])
    assert fresh.exists()
    assert not old.exists()
    arrays.verify(NAME)


# --- full and read-only disks ---------------------------------------------------------------------------------


class FullDisk:
    """A file that takes so many bytes and then says that the disk is full."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self.file.write(bytes(memoryview(data).cast("B"))[: self.room])
        self.room -= size
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return size

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *exc: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 100, 600, 1328, 1400])
def test_a_full_disk_leaves_what_was_there_and_nothing_half(
    arrays: PoolArrays, x: np.ndarray, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    arrays.write_part(NAME, 0, x[:20])
    before = arrays.info(NAME)
    real, left = Path.open, [room]

    def full(self: Path, *args: Any, **kwargs: Any) -> Any:
        file = real(self, *args, **kwargs)
        if not args or args[0] != "wb":
            return file
        limited = FullDisk(file, left[0])
        left[0] -= 1328  # the part takes 1328 bytes, the manifest the rest
        return limited

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(StoreError, match=r"no space left .*nothing half-written.*run the same command again"):
            arrays.write_part(NAME, 20, np.tile(x, (1, 1))[:100])
    assert arrays.info(NAME) == before
    assert not list(arrays.root.rglob("*.tmp"))
    arrays.write_part(NAME, 20, x)
    assert arrays.info(NAME).complete_rows == 120


FILL = """
import sys
import numpy as np
from pathlib import Path
from poolwise.errors import StoreError
from poolwise.store.arrays import PoolArrays
from poolwise.store.pool import PoolStore
from poolwise.types import Annotation, Item
root = Path(sys.argv[1])
pool = PoolStore.create(root / "p", [Item(i, f"item-{i}") for i in range(100)], source={})
rows, written, labels, full = np.ones((1000, 64)), 0, 0, set()
for _ in range(2000):
    try:
        pool.arrays.write_part("embeddings@a", written, rows)
        written += 1000
    except StoreError as error:
        assert "no space left" in str(error), error
        full.add("array")
        break
for _ in range(100_000):
    try:
        pool.annotate([Annotation(labels % 100, "x" * 500 + str(labels % 7))], allow_unasked=True)
        pool.settings["filler"] = "y" * 20_000 + str(labels)
        labels += 1
    except StoreError as error:
        assert "no space left" in str(error), error
        full.add("label")
        break
assert full == {"array", "label"}, full
assert pool.arrays.info("embeddings@a").complete_rows == written
pool.arrays.verify("embeddings@a")
again = PoolStore.open(root / "p")
assert labels <= len(again.annotations()) <= labels + 1
print("survived", written, labels)
"""


def test_a_disk_that_is_really_full_keeps_every_finished_part_and_label(on_small_disk: Callable[[str], str]) -> None:
    assert on_small_disk(FILL).startswith("survived")


def test_a_file_size_limit_is_explained_like_a_full_disk(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from poolwise.errors import StoreError\n"
        "from poolwise.store.arrays import PoolArrays\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "arrays = PoolArrays(Path(sys.argv[1]) / 'arrays')\n"
        "arrays.write_part('embeddings', 0, np.ones((10, 8)))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    arrays.write_part('embeddings', 10, np.ones((10_000, 8)))\n"
        "except StoreError as error:\n"
        "    print(error)\n"
        "print(arrays.read('embeddings').shape)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "no space left" in done.stdout
    assert done.stdout.endswith("(10, 8)\n")


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_read_only_place_is_explained(
    arrays: PoolArrays, x: np.ndarray, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    arrays.write_part(NAME, 0, x)

    def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.Path, "open", refuse)
    with pytest.raises(StoreError, match=r"read-only.*cp -r"):
        arrays.write_part(NAME, 100, x)


def test_too_many_open_files_are_explained(tmp_path: Path, x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    np.save(tmp_path / "part-0.npy", x)
    monkeypatch.setattr(np, "load", refuse)
    with pytest.raises(StoreError, match=r"'.*part-0\.npy'.*ulimit -n.*fewer, larger"):
        open_rows(tmp_path)


# --- at once --------------------------------------------------------------------------------------------------


def write_every_other(root: Path, first: int) -> None:
    arrays = PoolArrays(root)
    for start in range(first * 10, 400, 20):
        arrays.write_part(NAME, start, np.full((10, 3), start // 10, dtype=np.float32))


def test_two_processes_fill_one_array(arrays: PoolArrays) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=write_every_other, args=(arrays.root, k)) for k in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert load_rows(arrays.read(NAME, 400))[:, 0].tolist() == [i // 10 for i in range(400)]


def test_four_threads_fill_one_array_even_with_the_same_parts(arrays: PoolArrays) -> None:
    errors: list[BaseException] = []

    def work(first: int) -> None:
        try:
            write_every_other(arrays.root, first)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k % 2,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert load_rows(arrays.read(NAME, 400))[:, 0].tolist() == [i // 10 for i in range(400)]
    arrays.verify(NAME)


# --- open_rows on directories; single files are in test_formats.py ---------------------------------------------


def test_a_directory_with_a_manifest_opens_as_rows(arrays: PoolArrays, x: np.ndarray, tmp_path: Path) -> None:
    arrays.write(NAME, x, part_rows=30)
    moved = tmp_path / "my features"
    (arrays.root / NAME).rename(moved)
    assert np.array_equal(load_rows(open_rows(moved)), x.astype(np.float16).astype(np.float32))


def test_a_directory_of_npy_files_opens_in_the_order_of_names(tmp_path: Path, x: np.ndarray) -> None:
    np.save(tmp_path / "part-1.npy", x[60:])
    np.save(tmp_path / "part-0.npy", x[:60])
    assert np.array_equal(load_rows(open_rows(str(tmp_path))), x)


def test_a_directory_without_arrays_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \.npy files"):
        open_rows(tmp_path)


def test_parts_are_taken_in_the_order_of_their_numbers_not_of_their_digits(tmp_path: Path, x: np.ndarray) -> None:
    for number, rows in enumerate(np.array_split(x, 12)):
        np.save(tmp_path / f"part-{number}.npy", rows)
    assert np.array_equal(load_rows(open_rows(tmp_path)), x)


@pytest.mark.parametrize("strange", [np.arange(3), np.ones((3, 6), np.float64), np.ones((3, 5), np.float32)])
def test_a_file_that_is_no_part_of_the_others_is_named(tmp_path: Path, x: np.ndarray, strange: np.ndarray) -> None:
    np.save(tmp_path / "part-0.npy", x)
    np.save(tmp_path / "strange.npy", strange)
    with pytest.raises(ShapeError, match=r"'strange\.npy' has rows of .* and 'part-0\.npy' of \(6,\) float32"):
        open_rows(tmp_path)
