"""Embeddings that the user already has: an array in memory or in a file."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy

from poolwise.datasets.columns import Columns, read_columns
from poolwise.datasets.source import Source
from poolwise.datasets.tables import open_table
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
    embeddings : (N, D) array, tensor, data frame, or path of a .npy, .npz, .parquet or .safetensors file
    table : table of N rows that holds the id, label and group columns; default the data frame or
        Parquet file of the embeddings itself, whose other columns are then the embeddings

    Returns
    -------
    A source of kind "arrays"; its `embeddings` are the path as given, or an array.

    Raises
    ------
    InputError
        If the file is missing or of another kind, or the table has another number of rows.
    """
    columns = (id_column, label_column, group_column)
    named = [column for column in columns if column is not None]
    if named and table is None:
        table, embeddings = embeddings, _other_columns(embeddings, named)
    n_rows = count_rows(embeddings)
    who = Columns([str(row) for row in range(n_rows)], [None] * n_rows, None, None)
    if table is not None:
        opened = open_table(table)
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


def count_rows(embeddings: Any) -> int:
    """Count the rows of an array without loading it.

    Raises
    ------
    InputError
        If there is no such file, no such format, no (N, D) array, or no row.
    """
    if not isinstance(embeddings, str | Path):
        shape = as_rows(embeddings, "embeddings").shape
        return _checked(shape, "embeddings")
    path = Path(embeddings).expanduser()
    if not path.is_file():
        raise InputError(f"embeddings={str(embeddings)!r} is not a file; expected {', '.join(ENDINGS)}.")
    where, ending = f"embeddings file {path.name!r}", path.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(f"{where} ends in {ending!r}; expected one of {', '.join(ENDINGS)}. Save it as .npy.")
    try:
        if ending == ".npy":
            return _checked(np.load(path, mmap_mode="r", allow_pickle=False).shape, where)
        if ending == ".npz":
            return _checked(_only_matrix(_npz_shapes(path), where), where)
        if ending == ".safetensors":
            return _checked(_only_matrix(_safetensors_shapes(path), where), where)
        meta = pq.ParquetFile(path).metadata
        return _checked((meta.num_rows, meta.num_columns), where)
    except (ValueError, OSError, EOFError, struct.error, KeyError, pa.ArrowInvalid) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where} cannot be read ({error}). Save it again, as .npy for example.") from error


def _checked(shape: tuple[int, ...], where: str) -> int:
    if len(shape) != 2:
        raise InputError(f"{where} has shape {shape}; expected (N, D), one row per item. Use .reshape(len(x), -1).")
    if 0 in shape:
        raise InputError(f"{where} has shape {shape}; expected at least one row and one column.")
    return int(shape[0])


def _only_matrix(shapes: dict[str, tuple[int, ...]], where: str) -> tuple[int, ...]:
    """Choose `embeddings`, or else the only array with two dimensions."""
    if "embeddings" in shapes:
        return shapes["embeddings"]
    matrices = [name for name, shape in shapes.items() if len(shape) == 2]
    if len(matrices) != 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items())) or "nothing"
        raise InputError(f"{where} holds {listed}; expected one (N, D) array, or one named 'embeddings'.")
    return shapes[matrices[0]]


def _npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes in an archive from the head of each array."""
    import zipfile

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
    """Read the shapes from the JSON at the head of the file: 8 bytes of length, then the JSON."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > path.stat().st_size:
            raise ValueError("the header is longer than the file")
        head = json.loads(file.read(length))
    return {name: tuple(entry["shape"]) for name, entry in head.items() if name != "__metadata__"}


def _other_columns(embeddings: Any, named: list[str]) -> Any:
    """Take all columns but the named ones of a data frame or Parquet file as one array."""
    if hasattr(embeddings, "columns") and hasattr(embeddings, "drop"):
        for name in named:
            open_table(embeddings).check(name)
        return embeddings.drop(columns=named).to_numpy()
    if not isinstance(embeddings, str | Path) or Path(embeddings).suffix.lower() != ".parquet":
        raise InputError(
            f"embeddings have no column {named[0]!r}: they are not a table. Give the columns with table=FILE."
        )
    opened = open_table(embeddings)
    for name in named:
        opened.check(name)
    rest = [name for name in opened.names if name not in named]
    columns = opened.data.read(columns=rest).columns
    blocks = [_block(column, name) for column, name in zip(columns, rest, strict=True)]
    if not blocks:
        raise InputError(f"{opened.where} has no column besides {', '.join(named)}; expected the embeddings there.")
    return np.concatenate(blocks, axis=1)


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
