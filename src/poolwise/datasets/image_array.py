"""Images that are the rows of one .npy file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from poolwise.datasets.source import Source, check_ids, class_names
from poolwise.errors import InputError
from poolwise.types import Item


def image_array(
    file: str | Path,
    *,
    ids: Sequence[str] | None = None,
    labels: Sequence[str | None] | None = None,
    classes: Sequence[str] | None = None,
) -> Source:
    """List the rows of an array of images.

    Parameters
    ----------
    file : .npy file of (N, H, W) grey or (N, H, W, 3) RGB images, uint8
    ids : N unique ids; default the row numbers from 0
    labels : N class names or None; classes : their order

    Raises
    ------
    InputError
        If the file is missing, or its shape or dtype is another one.
    """
    path = Path(file).expanduser().absolute()
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"images={str(file)!r} cannot be read ({error}). Save the images with numpy.save.") from error
    if array.dtype != np.uint8 or not (array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)) or not array.size:
        raise InputError(
            f"images={str(file)!r} holds {array.shape} {array.dtype}; expected (N, H, W) or (N, H, W, 3) uint8. "
            "Scale the values to 0..255 and save them with .astype('uint8')."
        )
    ids = [str(row) for row in range(len(array))] if ids is None else ids
    check_ids(ids, f"images={path.name!r}")
    return Source(
        kind="image_rows",
        items=tuple(Item(index=i, item_id=ids[i], uri=f"#{i}") for i in range(len(array))),
        settings={"kind": "image_rows", "file": str(path)},
        classes=None if labels is None else class_names(labels, classes),
        labels=None if labels is None else tuple(labels),
    )
