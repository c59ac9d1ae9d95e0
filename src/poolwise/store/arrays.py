"""Named arrays of a pool: raw row-major .npy parts and one atomically replaced JSON manifest each.

    arrays/
      embeddings@3f2a9c01d2e4/
        manifest.json                       dtype, row shape, producer, parts (file, rows, checksum)
        part-000000000000-8c1f0a3b.npy      rows from 0 on; the suffix is the start of the checksum
        part-000000004096-77d0e2aa.npy

Raw parts memory-map without a dependency, are shared between processes by the page cache, and are
readable by any tool. float16 holds embeddings well: k-center on 50,000 items chose 496 of 500 same
rows as float32.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from poolwise.errors import ArrayMissingError, CorruptArrayError, InputError, PoolVersionError, ShapeError, StoreError
from poolwise.kernels.blocks import BLOCK_BYTES, ShardedRows, iter_blocks
from poolwise.progress import task
from poolwise.store.files import explained, locked, make_directory, write_atomic
from poolwise.store.formats import open_file, open_parts
from poolwise.types import Array, Rows, plain

FORMAT = 1
MANIFEST = "manifest.json"
FLOAT16_MAX = 65504.0
"""Largest float16."""

_LEFTOVER_S = 24 * 3600.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*(@[A-Za-z0-9]+)?")
_DTYPES = ("float16", "float32", "int64", "int32", "int16", "int8", "uint8", "bool")


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive rows of an array in one file."""

    file: str
    start: int
    rows: int
    bytes: int
    checksum: str

    @property
    def stop(self) -> int:
        """One more than the last row."""
        return self.start + self.rows


@dataclass(frozen=True, slots=True)
class ArrayInfo:
    """What a manifest says: one moment in the life of an array.

    finite : every value was checked when it was written
    producer : what made it (model, transform, digests), as given by the writer
    parts : by first row; gaps between them are rows that are still missing
    """

    name: str
    dtype: str
    row_shape: tuple[int, ...]
    finite: bool = True
    producer: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()

    @property
    def complete_rows(self) -> int:
        """Rows from 0 on that are there without a gap."""
        rows = 0
        for part in self.parts:
            if part.start != rows:
                break
            rows = part.stop
        return rows


def open_rows(path: str | Path) -> Rows:
    """Open an array file or a directory of parts, without loading it where the format allows it.

    Parameters
    ----------
    path : a .npy, .npz, .safetensors or .parquet file; a directory with a manifest, as `PoolArrays`
        writes it; or a directory of .npy files, taken in the order of their names, numbers in them by
        value (part-2 before part-10). `FILE#NAME` chooses one array of a .npz or .safetensors file, or
        one column of a Parquet file.

    Returns
    -------
    (n, ...) rows. .npy, uncompressed .npz, .safetensors and directories are memory-mapped (bfloat16 is
    widened block by block); compressed .npz and Parquet are loaded, Parquet as float32 (or its own
    narrower type, or int64 where all columns are whole numbers).

    Raises
    ------
    InputError
        If the file is of another kind, holds no numbers, or several arrays and none is named.
    ShapeError
        If the files of a directory differ in the shape or type of their rows; both are named.
    StoreError, CorruptArrayError
        If it cannot be read, or is damaged.
    """
    path, name = Path(path), None
    if not path.exists() and "#" in path.name:
        path, name = path.with_name(path.name.rpartition("#")[0]), path.name.rpartition("#")[2]
    if not path.is_dir():
        return open_file(path, name)
    if (path / MANIFEST).is_file():
        return PoolArrays(path.parent, path).read(path.name)
    parts = sorted(path.glob("*.npy"), key=_place)
    if not parts:
        raise InputError(f"{str(path)!r} holds no .npy files; expected a directory of parts, or name a file in it.")
    return open_parts(parts)


def _place(part: Path) -> tuple[list[str | int], str]:
    """Key that sorts parts by name, with numbers in it by value; names that differ by leading zeros as texts."""
    pieces = re.split(r"(\d+)", part.name)
    return [int(piece) if number % 2 else piece for number, piece in enumerate(pieces)], part.name


def array_name(kind: str, digest: str) -> str:
    """Name an array after its kind and the digest of what made it, so that two models never mix."""
    return f"{kind}@{digest[:12]}"


class PoolArrays:
    """The named arrays of one pool, written part by part and memory-mapped read-only.

    The promise: row i is item i. A part is visible only when all of it is on disk and in the
    manifest, which is replaced atomically; a reader holds one manifest and never sees half an array.
    Rows that are there never change (`write(..., replace=True)` swaps the whole array at once).
    Every value of a float array is finite and survives its storage type. Several processes may
    write parts of one array at once.

    Parameters
    ----------
    root : directory of the arrays; made by the first write
    pool : named in the remedies of error messages
    """

    def __init__(self, root: Path, pool: Path | None = None) -> None:
        self.root = Path(root)
        self.pool = Path(root).parent if pool is None else pool

    def names(self, kind: str | None = None) -> list[str]:
        """List the arrays that have at least one row, sorted; `kind`: those named `kind` or `kind@...`."""
        found = sorted(path.parent.name for path in self.root.glob(f"*/{MANIFEST}"))
        return [name for name in found if kind is None or name.split("@")[0] == kind]

    def __contains__(self, name: str) -> bool:
        return (self.root / name / MANIFEST).is_file()

    def info(self, name: str) -> ArrayInfo:
        """Read the manifest of an array.

        Raises
        ------
        ArrayMissingError
            If there is no array of that name.
        """
        path = self.root / name / MANIFEST
        try:
            with explained(path):
                text = path.read_text(encoding="utf-8")
        except StoreError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            raise ArrayMissingError(
                f"pool {self.pool.name!r} has no array {name!r}; it has {', '.join(self.names()) or 'none'}. "
                f"Compute embeddings with `poolwise embed {self.pool}`."
            ) from None
        return _parse_manifest(text, path, name)

    def read(self, name: str, n_items: int | None = None) -> Rows:
        """Open an array without loading it.

        Parameters
        ----------
        n_items : N; with it, fewer rows are an error, and rows beyond it are left out

        Returns
        -------
        (rows, ...) read-only memory map, or several behind one face.

        Raises
        ------
        ArrayMissingError
            If the array, or one of its first N rows, is not there.
        CorruptArrayError
            If a part is missing or has the wrong size.
        """
        info = self.info(name)
        rows = info.complete_rows if n_items is None else n_items
        if info.complete_rows < max(rows, 1):
            gap = self._gaps(info, max(rows, 1))[0]
            raise ArrayMissingError(
                f"array {name!r} of pool {self.pool.name!r} lacks rows {gap.start} to {gap.stop - 1} "
                f"(it has {sum(part.rows for part in info.parts)} of {rows} rows). "
                f"Compute them with `poolwise embed {self.pool}`; finished parts are kept."
            )
        maps = [self._map(info, part)[: rows - part.start] for part in info.parts if part.start < rows]
        return maps[0] if len(maps) == 1 else ShardedRows(maps)

    def missing_rows(self, name: str, n_items: int) -> list[range]:
        """List the row ranges below `n_items` that are not there; all of them if there is no such array."""
        if name not in self:
            return [range(n_items)] if n_items else []
        return self._gaps(self.info(name), n_items)

    def write_part(
        self,
        name: str,
        start_row: int,
        block: Array,
        *,
        dtype: DTypeLike | None = None,
        producer: Mapping[str, Any] | None = None,
    ) -> None:
        """Write consecutive rows; once this returns they are on disk and visible.

        Parameters
        ----------
        name : see `array_name`; letters, digits and ._+- with at most one @
        start_row : pool index of the first row
        block : (n, ...) numbers; writing the very same rows again is fine
        dtype : storage type, fixed by the first part; default float16 for floats, else that of `block`
        producer : what made the array; kept from the first part

        Raises
        ------
        InputError
            If a value is NaN or inf (the row is named), or does not survive float16.
        ShapeError
            If the rows do not fit the parts that are there.
        StoreError
            If other values are there for these rows, the disk is full, or the place is read-only.
        """
        block = np.asarray(block)
        if block.ndim == 0 or start_row < 0:
            raise ShapeError(f"array {name!r} needs rows from a row >= 0; got shape {block.shape} at row {start_row}.")
        if not len(block):
            return
        folder = self.root / _checked_name(name)
        stored = self._stored(name, start_row, block, dtype)
        make_directory(folder)
        part = _write_rows(folder, start_row, stored)
        with locked(folder / ".lock"):
            info = self.info(name) if name in self else ArrayInfo(name, stored.dtype.name, stored.shape[1:])
            if not info.parts:
                info = _with(info, producer=plain(dict(producer or {})))
            _check_fits(info, part, stored, self.pool)
            if part not in info.parts:
                parts = tuple(sorted((*info.parts, part), key=lambda p: p.start))
                _write_manifest(folder, _with(info, parts=parts))
            _sweep(folder)

    def check_part(self, name: str, start_row: int, block: Array, *, dtype: DTypeLike | None = None) -> None:
        """Write nothing, and refuse what `write_part` would refuse about these rows themselves."""
        self._stored(name, start_row, block, dtype)

    def _stored(self, name: str, start_row: int, block: Array, dtype: DTypeLike | None) -> Array:
        stored = _to_storage(block, _storage_dtype(block, dtype, self._stored_dtype(name)), name, start_row)
        if name in self:
            _check_rows(self.info(name), start_row, stored)
        return stored

    def write(
        self,
        name: str,
        rows: Rows,
        *,
        dtype: DTypeLike | None = None,
        producer: Mapping[str, Any] | None = None,
        replace: bool = False,
        part_rows: int | None = None,
    ) -> None:
        """Write a whole array at once: afterwards all of it is visible, or none.

        Parameters
        ----------
        rows : (n, ...) numbers, read by blocks
        replace : swap an array of that name for this one; else it must not exist
        part_rows : rows of one file; default about 64 MiB

        Raises
        ------
        InputError, ShapeError, StoreError
            As `write_part`.
        """
        self._check_replace(name, replace)
        folder = self.root / _checked_name(name)
        first = np.asarray(rows[slice(0, 1)])
        if first.ndim == 0 or not len(first):
            raise ShapeError(f"array {name!r} needs at least one row; got shape {rows.shape}.")
        kept = _storage_dtype(first, dtype, None)
        step = part_rows or max(1, 4 * BLOCK_BYTES // max(1, first.astype(kept).nbytes))
        make_directory(folder)
        parts = []
        with task(f"write {name}", len(rows)) as work:
            for start in range(0, len(rows), step):
                block = np.asarray(rows[slice(start, start + step)])
                parts.append(_write_rows(folder, start, _to_storage(block, kept, name, start)))
                work.advance(len(block))
        with locked(folder / ".lock"):
            self._check_replace(name, replace)
            info = ArrayInfo(name, kept.name, first.shape[1:], True, plain(dict(producer or {})), tuple(parts))
            _write_manifest(folder, info)
            _sweep(folder)

    def verify(self, name: str) -> None:
        """Recompute every checksum.

        Raises
        ------
        CorruptArrayError
            If a part is missing, truncated or changed; names the file and the command that repairs it.
        """
        info = self.info(name)
        with task(f"verify {name}", len(info.parts)) as work:
            for part in info.parts:
                path = self._sized(info, part)
                with explained(path):
                    found = _checksum_file(path)
                if found != part.checksum:
                    raise self._corrupt(info, part, f"its checksum is {found[:8]}, expected {part.checksum[:8]}")
                work.advance()

    def drop_corrupt(self, name: str) -> list[range]:
        """Forget the parts that are missing, truncated or changed; returns their rows, to be written again."""
        folder = self.root / _checked_name(name)
        with locked(folder / ".lock"):
            info = self.info(name)
            good = [part for part in info.parts if _is_intact(folder / part.file, part)]
            bad = [range(part.start, part.stop) for part in info.parts if part not in good]
            if bad:
                _write_manifest(folder, _with(info, parts=tuple(good)))
        return bad

    def remove(self, name: str) -> None:
        """Remove an array; readers that have it open keep it. Nothing happens if there is none."""
        folder = self.root / _checked_name(name)
        if name not in self:
            return
        with explained(folder), locked(folder / ".lock"):
            (folder / MANIFEST).unlink(missing_ok=True)  # invisible from here on
            for path in folder.glob("*.npy"):
                path.unlink(missing_ok=True)

    def _check_replace(self, name: str, replace: bool) -> None:
        if name in self and not replace:
            raise StoreError(
                f"pool {self.pool.name!r} has an array {name!r} already; rows never change. "
                "Pass replace=True to swap it for another one."
            )

    def _stored_dtype(self, name: str) -> str | None:
        return self.info(name).dtype if name in self else None

    def _gaps(self, info: ArrayInfo, n_items: int) -> list[range]:
        gaps, row = [], 0
        for part in info.parts:
            if part.start > row and row < n_items:
                gaps.append(range(row, min(part.start, n_items)))
            row = max(row, part.stop)
        return [*gaps, range(row, n_items)] if row < n_items else gaps

    def _map(self, info: ArrayInfo, part: Part) -> Array:
        path = self._sized(info, part)
        try:
            with explained(path):
                rows: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise self._corrupt(info, part, f"it is no .npy file ({error})") from error
        if rows.dtype.name != info.dtype or rows.shape != (part.rows, *info.row_shape):
            raise self._corrupt(info, part, f"it holds {rows.shape} {rows.dtype}")
        return rows

    def _sized(self, info: ArrayInfo, part: Part) -> Path:
        path = self.root / info.name / part.file
        if not path.is_file():
            raise self._corrupt(info, part, "it is missing")
        with explained(path):
            size = path.stat().st_size
        if size != part.bytes:
            raise self._corrupt(info, part, f"it has {size} bytes, expected {part.bytes}")
        return path

    def _corrupt(self, info: ArrayInfo, part: Part, what: str) -> CorruptArrayError:
        return CorruptArrayError(
            f"{str(self.root / info.name / part.file)!r} (rows {part.start} to {part.stop - 1} of {info.name}) is "
            f"damaged: {what}. Compute these rows again with `poolwise embed {self.pool} --repair`."
        )


def float16_loss(block: Array) -> str | None:
    """Say why values would not survive float16, or None if they do.

    Beyond 65504 a value would become inf. Below 6e-5 float16 has fewer digits; that matters only
    where a whole row is that small, because otherwise the error is no larger than the rounding of
    the row's larger values (unit-length rows of 768 values hold 0.13 % such values, harmlessly). So
    rows are counted that lose more than 2**-10 of their length, or of a hundredth of the typical
    length where they are shorter than that; more than 0.1 % of them are too many.
    """
    flat = block.reshape(len(block), -1)
    largest = float(np.abs(flat).max(initial=0.0))
    if largest > FLOAT16_MAX:
        return f"a value of size {largest:.6g} is beyond the largest float16, {FLOAT16_MAX:.0f}"
    lengths, lost = np.empty(len(flat)), np.empty(len(flat))
    for start, x in iter_blocks(flat, dtype=np.float64):
        here = slice(start, start + len(x))
        lengths[here] = np.linalg.norm(x, axis=1)
        lost[here] = np.linalg.norm(x - x.astype(np.float16), axis=1)
    typical = float(np.sqrt((lengths**2).mean()))
    bad = lost > 2.0**-10 * np.maximum(lengths, 0.01 * typical)
    if bad.sum() > 0.001 * (lengths > 0).sum():
        return f"{int(bad.sum())} of {len(bad)} rows are so small (below 6e-5) that float16 blurs them"
    return None


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot name an array; use letters, digits and ._+- with at most one @.")
    return name


def _storage_dtype(block: Array, dtype: DTypeLike | None, fixed: str | None) -> np.dtype[Any]:
    if dtype is None:
        dtype = fixed or (np.float16 if np.issubdtype(block.dtype, np.floating) else block.dtype)
    kept = np.dtype(dtype)
    if kept.name not in _DTYPES:
        raise InputError(
            f"cannot store {kept}; expected one of {', '.join(_DTYPES)}. Convert the array, e.g. to float32."
        )
    return kept


def _to_storage(block: Array, kept: np.dtype[Any], name: str, start_row: int) -> Array:
    """Convert rows to their storage type, and refuse values that would not survive it."""
    if block.dtype.kind not in "fiub" or (block.dtype.kind == "f") != (kept.kind == "f"):
        raise InputError(f"array {name!r} has dtype {block.dtype}, which cannot be stored as {kept}.")
    flat = block.reshape(len(block), -1)
    if block.dtype.kind == "f" and not np.isfinite(flat).all():
        row = start_row + int(np.flatnonzero(~np.isfinite(flat).all(axis=1))[0])
        raise InputError(
            f"{name} row {row} holds NaN or inf; every value must be finite. "
            "Drop or repair that item; nothing was written."
        )
    if kept == np.float16 and block.dtype != np.float16:
        loss = float16_loss(block)
        if loss is not None:
            raise InputError(
                f"{name} rows {start_row} to {start_row + len(block) - 1} do not fit float16: {loss}. "
                "Store them as float32 (dtype='float32'), or scale them."
            )
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(block, dtype=kept)
    survived = np.isfinite(stored).all() if kept.kind == "f" else np.array_equal(stored, block)
    if not survived:
        raise InputError(f"{name} has values that do not fit {kept}; choose a wider dtype.")
    return stored


def _write_rows(folder: Path, start: int, stored: Array) -> Part:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": stored.dtype.str, "fortran_order": False, "shape": stored.shape}
    )
    body = stored.reshape(-1).view(np.uint8).data
    digest = hashlib.blake2b(header.getbuffer(), digest_size=16)
    digest.update(body)
    checksum = digest.hexdigest()
    path = folder / f"part-{start:012d}-{checksum[:8]}.npy"
    size = len(header.getbuffer()) + stored.nbytes
    write_atomic(path, header.getvalue(), body)
    return Part(path.name, start, len(stored), size, checksum)


def _check_rows(info: ArrayInfo, start: int, stored: Array) -> None:
    if stored.dtype.name != info.dtype or stored.shape[1:] != info.row_shape:
        raise ShapeError(
            f"rows {start} to {start + len(stored) - 1} of {info.name} are {stored.shape[1:]} {stored.dtype}; the "
            f"parts that are there hold {info.row_shape} {info.dtype}. Write them under another name."
        )


def _check_fits(info: ArrayInfo, part: Part, stored: Array, pool: Path) -> None:
    _check_rows(info, part.start, stored)
    for other in info.parts:
        if other != part and other.start < part.stop and part.start < other.stop:
            raise StoreError(
                f"array {info.name!r} of pool {pool.name!r} has other values for rows {max(other.start, part.start)} "
                f"to {min(other.stop, part.stop) - 1}; rows never change. Write the whole array with replace=True."
            )


def _with(info: ArrayInfo, **changes: Any) -> ArrayInfo:
    fields = {name: getattr(info, name) for name in ArrayInfo.__slots__}
    return ArrayInfo(**{**fields, **changes})


def _write_manifest(folder: Path, info: ArrayInfo) -> None:
    record = {"format": FORMAT, **asdict(info), "complete_rows": info.complete_rows}
    write_atomic(folder / MANIFEST, json.dumps(record, indent=1, ensure_ascii=False).encode())


def _parse_manifest(text: str, path: Path, name: str) -> ArrayInfo:
    try:
        record = json.loads(text)
        if record["format"] > FORMAT:
            raise PoolVersionError(
                f"{str(path)!r} has format {record['format']}; this poolwise reads up to {FORMAT}. "
                "Upgrade with `pip install -U poolwise`."
            )
        return ArrayInfo(
            name=name,
            dtype=record["dtype"],
            row_shape=tuple(record["row_shape"]),
            finite=record["finite"],
            producer=record["producer"],
            parts=tuple(Part(**part) for part in record["parts"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptArrayError(
            f"{str(path)!r} is no manifest of an array ({error}). In a pool, remove its directory and compute the "
            "array again; elsewhere move this file away, and the .npy files beside it are read in the order of "
            "their names."
        ) from error


def _is_intact(path: Path, part: Part) -> bool:
    with suppress(FileNotFoundError), explained(path):
        return path.is_file() and path.stat().st_size == part.bytes and _checksum_file(path) == part.checksum
    return False


def _checksum_file(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _sweep(folder: Path) -> None:
    """Remove what killed writers left behind: files that no manifest names, untouched for a day."""
    named = {part["file"] for part in json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["parts"]}
    oldest = time.time() - _LEFTOVER_S
    for path in folder.iterdir():
        unknown = path.suffix in (".npy", ".tmp") and path.name not in named
        with suppress(FileNotFoundError):  # another writer swept it
            if unknown and path.stat().st_mtime < oldest:
                path.unlink()
