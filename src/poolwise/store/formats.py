"""Arrays in other people's files, opened as rows without loading them where the format allows it.

Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from poolwise.errors import CorruptArrayError, InputError, ShapeError, StoreError
from poolwise.kernels.blocks import ShardedRows
from poolwise.store.files import explained
from poolwise.types import Array, Rows

_SAFETENSORS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}
_MAX_HEADER = 100 * 2**20
_ZIP_LOCAL_HEADER = 30


def open_file(path: Path, name: str | None = None) -> Rows:
    """Open one file as rows; `name` chooses among several arrays or columns.

    Raises
    ------
    InputError
        If the ending is not known, the file holds no numbers, or several arrays and no name.
    StoreError, CorruptArrayError
        If the file cannot be read, or is damaged.
    """
    readers: dict[str, Callable[[Path, str | None], Rows]] = {
        ".npy": _open_npy,
        ".npz": _open_npz,
        ".safetensors": _open_safetensors,
        ".parquet": _open_parquet,
    }
    if path.suffix.lower() not in readers:
        raise InputError(
            f"cannot read arrays from {path.name!r}; expected a name ending in {', '.join(readers)}, or a directory of "
            ".npy parts. Save it in one of these forms, e.g. with np.save."
        )
    with explained(path):
        rows = readers[path.suffix.lower()](path, name)
    if len(rows.shape) == 0 or rows.dtype.kind not in "fiub":
        raise InputError(f"{path.name!r} holds {rows.shape} {rows.dtype}; expected rows of numbers.")
    return rows


def open_parts(paths: Sequence[Path]) -> Rows:
    """Open .npy files as one array, in the given order.

    Raises
    ------
    ShapeError
        If their rows differ in shape or type; the first two files that do are named.
    """
    parts = [np.asarray(open_file(path)) for path in paths]
    kinds = [f"{part.shape[1:]} {part.dtype}" for part in parts]
    other = next((number for number, kind in enumerate(kinds) if kind != kinds[0]), None)
    if other is not None:
        raise ShapeError(
            f"{paths[other].name!r} has rows of {kinds[other]} and {paths[0].name!r} of {kinds[0]}; all .npy files of "
            f"{str(paths[0].parent)!r} must be parts of one array. Move others away, and save all parts with one dtype."
        )
    return parts[0] if len(parts) == 1 else ShardedRows(parts)


def names_in(path: Path) -> list[str]:
    """List the arrays of a .npz or .safetensors file by name.

    Raises
    ------
    InputError
        If the file is of another kind.
    StoreError, CorruptArrayError
        If it cannot be read, or is damaged.
    """
    listers: dict[str, Callable[[Path], list[str]]] = {
        ".npz": _npz_names,
        ".safetensors": lambda path: list(_safetensors_header(path)[0]),
    }
    if path.suffix.lower() not in listers:
        raise InputError(
            f"cannot read named arrays from {path.name!r}; expected a name ending in {' or '.join(listers)}. "
            "Save them with np.savez(path, name=array)."
        )
    try:
        with explained(path):
            return listers[path.suffix.lower()](path)
    except (zipfile.BadZipFile, ValueError) as error:
        raise _damaged(path, error) from error


def choose_name(path: Path, name: str | None, names: list[str]) -> str:
    """Take the named array, or the only one.

    Raises
    ------
    InputError
        If there are several and none is named, or the named one is not there.
    """
    if name is None and len(names) == 1:
        return names[0]
    if name in names:
        return str(name)
    what = "has none" if not names else f"has {', '.join(map(repr, names[:20]))}"
    wanted = "one array" if name is None else f"an array {name!r}"
    hint = f" Name one: `{path}#{names[0]}`." if names else ""
    raise InputError(f"expected {wanted} in {path.name!r}; it {what}.{hint}")


def _open_npy(path: Path, name: str | None) -> Rows:
    if name is not None:
        raise InputError(f"{path.name!r} holds a single array; leave out '#{name}'.")
    try:
        rows: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _damaged(path, error) from error
    return rows


def _open_npz(path: Path, name: str | None) -> Rows:
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
            info = members[choose_name(path, name, list(members))]
            if info.compress_type == zipfile.ZIP_STORED:
                return _map_member(path, info)
            with archive.open(info) as file:
                rows: Array = np.lib.format.read_array(file, allow_pickle=False)
                return rows
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(path, error) from error


def _npz_names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return list(_members(archive))


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {info.filename.removesuffix(".npy"): info for info in archive.infolist()}


def _map_member(path: Path, info: zipfile.ZipInfo) -> Array:
    """Memory-map an uncompressed member of a zip file."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(_ZIP_LOCAL_HEADER)
        extra = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        file.seek(info.header_offset + _ZIP_LOCAL_HEADER + extra)
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are never unpickled")
        if not np.prod(shape):
            return np.empty(shape, dtype=dtype)
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")


def _open_safetensors(path: Path, name: str | None) -> Rows:
    """Read the header (JSON) and map the data behind it; the package is not needed."""
    try:
        tensors, size = _safetensors_header(path)
        tensor = tensors[choose_name(path, name, list(tensors))]
        shape, (start, stop) = tuple(tensor["shape"]), tensor["data_offsets"]
        dtype = np.dtype(_SAFETENSORS.get(tensor["dtype"], "V1"))
        if dtype.kind == "V":
            raise InputError(f"{path.name!r} holds {tensor['dtype']}; expected one of {', '.join(_SAFETENSORS)}.")
        if stop - start != int(np.prod(shape)) * dtype.itemsize or path.stat().st_size < 8 + size + stop:
            raise ValueError("it is shorter than its header says")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(path, error) from error
    if stop == start:
        return np.empty(shape, dtype=dtype)
    rows = np.memmap(path, dtype, "r", 8 + size + start, shape)
    return BFloat16Rows(rows) if tensor["dtype"] == "BF16" else rows


def _safetensors_header(path: Path) -> tuple[dict[str, Any], int]:
    """Read the entries of all tensors by name, and the bytes that the header takes.

    Raises
    ------
    ValueError
        If there is no such header.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > _MAX_HEADER:
            raise ValueError(f"its header claims {size} bytes")
        tensors = json.loads(file.read(size))
    if not isinstance(tensors, dict):
        raise ValueError(f"its header is a {type(tensors).__name__}, not a table of tensors")
    tensors.pop("__metadata__", None)
    return tensors, size


class BFloat16Rows:
    """bfloat16 rows (NumPy has no such type) read as float32, block by block.

    Parameters
    ----------
    bits : (n, ...) uint16, the upper half of each float32
    """

    def __init__(self, bits: Array) -> None:
        self.bits = bits
        self.shape = bits.shape
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, key: Any) -> Array:
        wide: Array = np.left_shift(np.asarray(self.bits[key]), 16, dtype=np.uint32).view(np.float32)
        return wide


def _open_parquet(path: Path, name: str | None) -> Rows:
    """Load a column of equally long lists, or all numeric columns as (n, columns)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            lists = [f.name for f in schema if pa.types.is_list(f.type) or pa.types.is_fixed_size_list(f.type)]
            lists += [f.name for f in schema if pa.types.is_large_list(f.type)]
            numeric = [f.name for f in schema if _is_number(pa, f.type)]
            if name is not None or lists:
                column = choose_name(path, name, lists if name is None else lists + numeric)
                columns = [column]
            else:
                columns = numeric
            if not columns:
                raise InputError(f"{path.name!r} has no column of numbers or lists of numbers; it has {schema.names}.")
            table = file.read(columns=columns)
    except pa.ArrowInvalid as error:
        raise _damaged(path, error) from error
    if columns[0] in lists:
        return _stack_lists(table.column(0), path)
    whole = all(pa.types.is_integer(field.type) for field in table.schema)
    out = np.empty((table.num_rows, len(columns)), dtype=np.int64 if whole else np.float32)
    for number, key in enumerate(columns):
        column = table.column(key)
        if column.null_count:
            raise _null(path, key, column.is_null().to_numpy())
        out[:, number] = column.to_numpy()
    return out[:, 0] if name is not None else out


def _stack_lists(column: Any, path: Path) -> Array:
    if column.null_count:
        raise _null(path, "its list column", column.is_null().to_numpy())
    lengths = np.unique(np.concatenate([_list_lengths(chunk) for chunk in column.chunks] or [np.zeros(1)]))
    if len(lengths) > 1:
        raise InputError(
            f"{path.name!r} holds lists of {lengths[0]} to {lengths[-1]} numbers; every row needs the same width."
        )
    values = [chunk.flatten() for chunk in column.chunks]
    if any(chunk.null_count for chunk in values):
        raise InputError(f"{path.name!r} holds lists with empty places (nulls); every place needs a number. Fill them.")
    blocks = [chunk.to_numpy(zero_copy_only=False).reshape(-1, int(lengths[0])) for chunk in values if len(chunk)]
    out = np.concatenate(blocks) if blocks else np.empty((0, 0), dtype=np.float32)
    return out.astype(np.float32) if out.dtype == np.float64 else out


def _list_lengths(chunk: Any) -> Array:
    """Lengths of the lists in one chunk; an empty chunk has none."""
    if hasattr(chunk.type, "list_size"):  # fixed-size lists
        return np.full(min(len(chunk), 1), chunk.type.list_size)
    lengths: Array = chunk.value_lengths().to_numpy()
    return lengths


def _is_number(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _null(path: Path, column: str, nulls: Array) -> InputError:
    row = int(np.flatnonzero(nulls)[0])
    return InputError(
        f"{path.name!r} has no value in row {row} of {column}; every row needs a number. Drop or fill it."
    )


def _damaged(path: Path, error: Exception) -> StoreError:
    reason = str(error).rstrip(".")
    if "pickle" in reason:  # what NumPy says of any file that does not begin like an array
        reason = "it is not in NumPy's format, or holds Python objects, which are never unpickled"
    return CorruptArrayError(f"cannot read {str(path)!r}: {reason}. Write the file again from its source.")
