"""CIFAR-10: 60,000 colour 32 x 32 pictures in 10 classes.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report,
University of Toronto, 2009. Licence: none stated; the page asks to cite the report. The binary
version is read, which needs no pickle; its layout and MD5 checksum are on
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Literal

import numpy as np

from poolwise.datasets.download import cache_folder, fetch
from poolwise.datasets.fashion_mnist import save_once
from poolwise.datasets.image_array import image_array
from poolwise.datasets.source import Source
from poolwise.errors import DownloadError
from poolwise.registry import dataset
from poolwise.types import Array

ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CHECKSUM = "md5:c32a1d4ab5d03f1284b67883e8d87530"
MEMBERS = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ROW_BYTES = 1 + 3 * 32 * 32
MAX_MEMBER_BYTES = 10_000 * ROW_BYTES


@dataset("cifar10")
def cifar10(
    *, split: Literal["train", "test"] = "train", cache: str | Path | None = None, address: str = ADDRESS
) -> Source:
    """Open CIFAR-10 in the official order; downloads 170 MB the first time.

    Parameters
    ----------
    split : 50,000 or 10,000 pictures
    cache : folder to keep the file in; default see `cache_folder`
    address : where the archive is; a `file://` address works offline

    Returns
    -------
    A source of images with labels.

    Raises
    ------
    DownloadError
        If the archive cannot be fetched or is not the official one.
    """
    folder = cache_folder("cifar10", cache)
    images, labels = read_batches(fetch(address, folder / "cifar-10-binary.tar.gz", CHECKSUM), MEMBERS[split])
    return image_array(
        save_once(folder / f"{split}.npy", images),
        ids=[f"{split}/{i:05d}" for i in range(len(images))],
        labels=[CLASSES[label] for label in labels.tolist()],
        classes=CLASSES,
    )


def read_batches(archive: Path, names: tuple[str, ...]) -> tuple[Array, Array]:
    """Read batches inside the archive; nothing is unpacked to disk.

    A row is one byte of label, then 3 planes of 32 x 32 bytes.

    Returns
    -------
    (N, 32, 32, 3) uint8 images and (N,) uint8 labels.

    Raises
    ------
    DownloadError
        If the archive is broken, a batch is missing, or its length is wrong.
    """
    found: dict[str, Array] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = member.name.rsplit("/", 1)[-1]
                file = tar.extractfile(member) if name in names and member.size <= MAX_MEMBER_BYTES else None
                if file is not None:
                    found[name] = np.frombuffer(file.read(), np.uint8).reshape(-1, ROW_BYTES)
        rows = np.concatenate([found[name] for name in names])
    except (tarfile.TarError, OSError, EOFError, ValueError, KeyError) as error:
        raise DownloadError(f"{str(archive)!r} is not CIFAR-10 ({error}). Delete it and try again.") from error
    return np.ascontiguousarray(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), rows[:, 0]
