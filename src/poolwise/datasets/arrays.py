"""Embeddings that the user already has: an array in memory or in a file."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy

from poolwise.datasets.columns import Columns, read_columns
from poolwise.datasets.source import Source
from poolwise.datasets.tables import Table, open_table
from poolwise.errors import InputError
from poolwise.kernels.blocks import as_rows
from poolwise.types import Item

ENDINGS = (".npy", ".npz", ".parquet", ".safetensors")


def arrays(
    embeddings: Any,
    *,
    table: Any = None,
    id_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
) -> Source:
    """List the rows of an array as items without content.

    Parameters
    ----------
    embeddings : (N, D) array, tensor or data frame; or a path as `check_embeddings` takes it
    table : table of N rows that holds the id, label and group columns. Without it they are taken from
        the embeddings: other columns of the data frame or Parquet file, other arrays of the .npz file

    Returns
    -------
    A source of kind "arrays"; its `embeddings` are an array, or a path with the name of the array.

    Raises
    ------
    InputError
        If the file is missing or of another kind, or the table has another number of rows.
    """
    named = [column for column in (id_column, label_column, group_column) if column is not None]
    opened = None if table is None else open_table(table)
    if named and opened is None:
        if isinstance(embeddings, str | Path) and _split(embeddings)[0].suffix.lower() == ".npz":
            opened = _npz_table(_split(embeddings)[0], named)
        else:
            opened, embeddings = _other_columns(embeddings, named)
    n_rows, embeddings = check_embeddings(embeddings)
    who = Columns([str(row) for row in range(n_rows)], [None] * n_rows, None, None)
    if opened is not None:
        if opened.n_rows != n_rows:
            raise InputError(
                f"{opened.where} has {opened.n_rows} rows, but the embeddings have {n_rows}. "
                "Row i of both must be the same item."
            )
        who = read_columns(opened, id_column=id_column, label_column=label_column, group_column=group_column)
    return Source(
        kind="arrays",
        items=tuple(Item(index=i, item_id=who.ids[i], group_id=who.groups[i]) for i in range(n_rows)),
        settings={"kind": "arrays", "file": str(embeddings) if isinstance(embeddings, str | Path) else None},
        classes=who.classes,
        labels=who.labels,
        embeddings=embeddings,
    )


def check_embeddings(embeddings: Any) -> tuple[int, Any]:
    """Count the rows of embeddings without loading them.

    Parameters
    ----------
    embeddings : array in memory; .npy, .npz, .parquet or .safetensors file, or folder of .npy parts.
        `FILE#NAME` chooses an array of a .npz or .safetensors file; else it is the one named
        "embeddings", or the only one with two dimensions

    Returns
    -------
    N, and the array as given or its path, with `#NAME` where the file holds several.

    Raises
    ------
    InputError
        If there is no such file, no such format, no (N, D) array, or no row.
    """
    if not isinstance(embeddings, str | Path):
        return _checked(as_rows(embeddings, "embeddings").shape, "embeddings"), embeddings
    path, name = _split(embeddings)
    where = f"embeddings {path.name!r}"
    if not path.exists():
        raise InputError(f"embeddings={str(embeddings)!r} is not a file; expected {', '.join(ENDINGS)}.")
    if not path.is_dir() and path.suffix.lower() not in ENDINGS:
        raise InputError(f"{where} ends in {path.suffix!r}; expected one of {', '.join(ENDINGS)}. Save it as .npy.")
    try:
        shapes = _shapes(path)
        chosen = name if name is not None else _only_matrix(shapes, where)
        if chosen not in shapes:
            raise InputError(f"{where} has no array {chosen!r}; it has {', '.join(sorted(shapes))}.")
        n_rows = _checked(shapes[chosen], where)
    except (ValueError, OSError, EOFError, struct.error, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where} cannot be read ({error}). Save it again, as .npy for example.") from error
    return n_rows, path if len(shapes) == 1 else f"{path}#{chosen}"


def _split(embeddings: str | Path) -> tuple[Path, str | None]:
    """Split `FILE#NAME`, unless there is a file of that very name."""
    path = Path(embeddings).expanduser()
    if path.exists() or "#" not in path.name:
        return path, None
    file, _, name = path.name.rpartition("#")
    return path.with_name(file), name


def _checked(shape: tuple[int, ...], where: str) -> int:
    if len(shape) != 2:
        raise InputError(f"{where} has shape {shape}; expected (N, D), one row per item. Use .reshape(len(x), -1).")
    if 0 in shape:
        raise InputError(f"{where} has shape {shape}; expected at least one row and one column.")
    return int(shape[0])


def _only_matrix(shapes: Mapping[str, tuple[int, ...]], where: str) -> str:
    """Choose `embeddings`, or else the only array with two dimensions."""
    if "embeddings" in shapes or len(shapes) == 1:
        return "embeddings" if "embeddings" in shapes else next(iter(shapes))
    matrices = [name for name, shape in shapes.items() if len(shape) == 2]
    if len(matrices) != 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items())) or "nothing"
        raise InputError(f"{where} holds {listed}; expected one (N, D) array. Name it: FILE#NAME.")
    return matrices[0]


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes of all arrays of a file or folder from their heads."""
    ending = path.suffix.lower()
    if path.is_dir():
        return {"": _folder_shape(path)}
    if ending == ".npy":
        return {"": np.load(path, mmap_mode="r", allow_pickle=False).shape}
    if ending == ".npz":
        return _npz_shapes(path)
    if ending == ".safetensors":
        return _safetensors_shapes(path)
    meta = pq.ParquetFile(path).metadata
    return {"": (meta.num_rows, meta.num_columns)}


def _folder_shape(path: Path) -> tuple[int, ...]:
    """Add up the rows of the .npy parts of a folder."""
    shapes = [np.load(part, mmap_mode="r", allow_pickle=False).shape for part in sorted(path.glob("*.npy"))]
    if not shapes:
        raise InputError(f"folder {str(path)!r} holds no .npy file; expected the parts of an array.")
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def _npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    shapes = {}
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error
    with archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                version = npy.read_magic(file)
                read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shapes[name.removesuffix(".npy")] = read(file)[0]
    return shapes


def _safetensors_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the JSON at the head of the file: 8 bytes of length, then the JSON."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > path.stat().st_size:
            raise ValueError("the header is longer than the file")
        head = json.loads(file.read(length))
    return {name: tuple(entry["shape"]) for name, entry in head.items() if name != "__metadata__"}


def _npz_table(path: Path, named: list[str]) -> Table:
    """Take some arrays of a .npz file as the columns of a table."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            columns = {name: archive[name].tolist() for name in named if name in archive.files}
            names = tuple(archive.files)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"embeddings {path.name!r} cannot be read ({error}). Save it again.") from error
    n_rows = min((len(column) for column in columns.values()), default=0)
    table = Table(f"file {path.name!r}", path, names, n_rows, columns)
    for name in named:
        table.check(name)
    return table


def _other_columns(embeddings: Any, named: list[str]) -> tuple[Table, Any]:
    """Open a data frame or Parquet file as a table, and take all columns but the named ones as one array."""
    frame = hasattr(embeddings, "columns") and hasattr(embeddings, "iloc")
    if not frame and (not isinstance(embeddings, str | Path) or Path(embeddings).suffix.lower() != ".parquet"):
        raise InputError(
            f"embeddings have no column {named[0]!r}: they are not a table. Give the columns with table=FILE."
        )
    opened = open_table(embeddings)
    for name in named:
        opened.check(name)
    rest = [name for name in opened.names if name not in named]
    if not rest:
        raise InputError(f"{opened.where} has no column besides {', '.join(named)}; expected the embeddings there.")
    if frame:
        return opened, opened.data[rest].to_numpy()
    columns = opened.data.read(columns=rest).columns
    return opened, np.concatenate([_block(c, name) for c, name in zip(columns, rest, strict=True)], axis=1)


def _block(column: pa.ChunkedArray, name: str) -> np.ndarray[Any, Any]:
    """Turn one column of numbers, or of equally long lists of numbers, into (N, d)."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        if column.null_count or len(flat) % len(column):
            raise InputError(f"column {name!r} holds lists of different lengths; expected D numbers in every row.")
        return np.asarray(flat).reshape(len(column), -1)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise InputError(
            f"column {name!r} holds {kind}; expected numbers. Name it as id, label or group column, or remove it."
        )
    return np.asarray(column.to_numpy())[:, None]
