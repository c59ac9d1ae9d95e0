"""Opening the content of one item: an image as the eye sees it, or a text.

What cannot be opened raises `UnreadableItemError` with the reason; callers report it and go on.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageOps, UnidentifiedImageError

from poolwise.datasets.source import content_of
from poolwise.errors import UnreadableItemError
from poolwise.types import Array, Item

MAX_PIXELS = 89_478_485
"""Largest image opened, in pixels: a small file can claim a picture that fills the memory."""


ROW = re.compile(r"(.*\.(?:npy|parquet|pq))?#([0-9]+)", re.DOTALL)
"""The uri of an image that is row n of a file: `#n`, or `file#n` if it is not the file of the settings."""


def load_image(item: Item, settings: Mapping[str, Any], *, at_least: int | None = None) -> Image.Image:
    """Open an image item as RGB, upright, on white where it is transparent.

    Images with 16 bits or floating point values are stretched from their own darkest to their own
    brightest value. Of several frames the first is taken.

    Parameters
    ----------
    settings : the settings of the item's source
    at_least : shortest side that is needed, in pixels; JPEG files are then decoded at an eighth, a
        quarter or half of their size, which is several times faster

    Raises
    ------
    UnreadableItemError
        If the file is missing, empty, truncated, corrupt, or larger than `MAX_PIXELS`.
    """
    return load_content(item, settings, at_least=at_least)[0]  # type: ignore[no-any-return]


def load_text(item: Item) -> str:
    """Return the text of an item.

    Raises
    ------
    UnreadableItemError
        If the text is missing or blank.
    """
    if item.text is None or not item.text.strip():
        raise UnreadableItemError("the text is empty")
    return item.text


def load_content(item: Item, settings: Mapping[str, Any], *, at_least: int | None = None) -> tuple[Any, bytes]:
    """Open an item and hash what was read.

    Returns
    -------
    The PIL image or the text, and 16 bytes that are equal for items with equal content: the same
    file bytes, pixels or text.

    Raises
    ------
    UnreadableItemError
        If the content cannot be opened.
    """
    content = content_of(settings)
    if content == "none":
        raise UnreadableItemError("the pool holds arrays; its items have no content")
    if content == "text":
        text = load_text(item)
        return text, _hash(text.encode("utf-8", "surrogatepass"))
    row = ROW.fullmatch(str(item.uri))
    data = _image_row(row[1] or settings["file"], int(row[2]), settings) if row else _file_bytes(item, settings)
    if isinstance(data, bytes):
        return decode_image(data, at_least=at_least), _hash(data)
    return Image.fromarray(data).convert("RGB"), _hash(data.tobytes())


def decode_image(data: bytes, *, at_least: int | None = None) -> Image.Image:
    """Decode the bytes of an image file as `load_image` says.

    Raises
    ------
    UnreadableItemError
        Whatever the decoder complains about.
    """
    if not data:
        raise UnreadableItemError("the file is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableItemError(
                    f"the image has {image.width} x {image.height} pixels; the limit is {MAX_PIXELS}. Reduce it first"
                )
            if at_least is not None:
                image.draft("RGB", (at_least, at_least))
            return _rgb(ImageOps.exif_transpose(image))
    except UnreadableItemError:
        raise
    except UnidentifiedImageError as error:  # its own message is an address in memory
        raise UnreadableItemError(f"these {len(data)} bytes are no image format that is known") from error
    except Exception as error:  # decoders raise nearly anything on hostile bytes
        raise UnreadableItemError(f"the image cannot be decoded ({type(error).__name__}: {error})") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = _stretched(np.asarray(image))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def _stretched(pixels: Array) -> Image.Image:
    values = pixels.astype(np.float64)
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all():
        raise UnreadableItemError("the image holds values that are not finite")
    return Image.fromarray(np.round((values - low) * (255 / max(high - low, 1e-30))).astype(np.uint8))


def _file_bytes(item: Item, settings: Mapping[str, Any]) -> bytes:
    path = Path(settings.get("folder") or "") / str(item.uri)
    try:
        if not path.is_file():
            raise UnreadableItemError(f"no file at {str(path)!r}")
        return path.read_bytes()
    except OSError as error:
        raise UnreadableItemError(f"cannot read {str(path)!r} ({error.strerror})") from error


def _image_row(path: str, row: int, settings: Mapping[str, Any]) -> bytes | Array:
    """Read one image of a .npy or Parquet file."""
    try:
        changed = os.stat(path).st_mtime_ns  # noqa: PTH116
        if path.endswith(".npy"):
            return np.asarray(_open_npy(path, changed)[row])
        group, first = _row_group_of(path, changed, row)
        value = _row_group(path, changed, group, settings["image_column"])[row - first].as_py()
    except (OSError, IndexError, ValueError, KeyError) as error:
        raise UnreadableItemError(f"cannot read row {row} of {path!r} ({error})") from error
    if isinstance(value, dict):
        value = value.get("bytes")
    if value is None:
        raise UnreadableItemError(f"row {row} of {path!r} holds no image")
    return bytes(value)


@lru_cache(maxsize=8)
def _open_npy(path: str, changed: int) -> Array:
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype != np.uint8 or not (array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)):
        raise ValueError(f"images must be (N, H, W) or (N, H, W, 3) uint8; got {array.shape} {array.dtype}")
    return array


@lru_cache(maxsize=8)
def _row_starts(path: str, changed: int) -> tuple[int, ...]:
    meta = pq.read_metadata(path)
    sizes = [meta.row_group(g).num_rows for g in range(meta.num_row_groups)]
    return tuple(np.cumsum([0, *sizes]).tolist())


def _row_group_of(path: str, changed: int, row: int) -> tuple[int, int]:
    starts = _row_starts(path, changed)
    if not 0 <= row < starts[-1]:
        raise IndexError(f"it has {starts[-1]} rows")
    group = int(np.searchsorted(starts, row, side="right")) - 1
    return group, starts[group]


@lru_cache(maxsize=2)
def _row_group(path: str, changed: int, group: int, column: str) -> Any:
    return pq.ParquetFile(path).read_row_group(group, columns=[column]).column(0)


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
