"""A folder of images, with or without class folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from poolwise.datasets.source import Source, class_names
from poolwise.errors import InputError
from poolwise.types import Item

IMAGE_ENDINGS = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2", ".avif")
)
"""File names that count as images, in lower case."""


def image_folder(folder: str | Path) -> Source:
    """List the images of a folder and of all folders inside it.

    Hidden files, files that are no images, broken links and names that are not UTF-8 are ignored
    but counted. Links to files and folders are followed, each real folder once.

    Parameters
    ----------
    folder : an existing folder

    Returns
    -------
    A source of kind "image_folder". `item_id` and `uri` are the path relative to the folder, with
    "/" between the parts; items are sorted by it, code point by code point. If every image lies in
    a folder inside the folder and there are at least two of those, the first part of the path is
    the label.

    Raises
    ------
    InputError
        If the folder does not exist or holds no image.
    """
    root = Path(folder).expanduser().absolute()
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise InputError(f"images={str(folder)!r} {what}; expected a folder of images. Check the path.")
    ignored: Counter[str] = Counter()
    names = sorted(_image_names(root, ignored))
    if not names:
        seen = ", ".join(f"{count} {reason}" for reason, count in sorted(ignored.items())) or "no files at all"
        raise InputError(
            f"folder {str(folder)!r} holds no images ({seen}). "
            f"Expected files ending in {', '.join(sorted(IMAGE_ENDINGS))}."
        )
    labels = _folder_labels(names)
    return Source(
        kind="image_folder",
        items=tuple(Item(index=i, item_id=name, uri=name) for i, name in enumerate(names)),
        settings={"kind": "image_folder", "folder": str(root)},
        classes=class_names(labels) if labels else None,
        labels=labels,
        ignored=dict(ignored),
    )


def _image_names(root: Path, ignored: Counter[str]) -> Iterator[str]:
    """Yield the relative POSIX paths of all images below `root`, in no particular order."""
    waiting, visited = [PurePosixPath()], {os.path.realpath(root)}
    while waiting:
        here = waiting.pop()
        with os.scandir(root / here) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                if entry.name.startswith("."):
                    ignored["hidden"] += 1
                elif entry.is_dir():
                    real = os.path.realpath(entry.path)
                    if real in visited:
                        ignored["folder linked twice"] += 1
                    else:
                        visited.add(real)
                        waiting.append(here / entry.name)
                elif os.path.splitext(entry.name)[1].lower() not in IMAGE_ENDINGS:  # noqa: PTH122
                    ignored["not an image"] += 1
                elif not entry.is_file():
                    ignored["broken link or special file"] += 1
                elif not _is_utf8(name := str(here / entry.name)):
                    ignored["name is not UTF-8"] += 1
                else:
                    yield name


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _folder_labels(names: list[str]) -> tuple[str, ...] | None:
    first, slashes = zip(*((name.partition("/")[0], "/" in name) for name in names), strict=True)
    return tuple(first) if all(slashes) and len(set(first)) > 1 else None
