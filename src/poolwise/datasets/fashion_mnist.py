"""Fashion-MNIST: 70,000 grey 28 x 28 pictures of clothes in 10 classes.

Source: Xiao, Rasul & Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", arXiv:1708.07747, 2017. Licence: MIT. File names and MD5 checksums: the table
"Get the Data" in the README of github.com/zalandoresearch/fashion-mnist.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np

from poolwise.datasets.download import cache_folder, fetch
from poolwise.datasets.image_array import image_array
from poolwise.datasets.source import Source
from poolwise.errors import DownloadError
from poolwise.registry import dataset
from poolwise.types import Array

ADDRESS = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
}
PREFIX = {"train": "train", "test": "t10k"}
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataset("fashion_mnist")
def fashion_mnist(
    *, split: Literal["train", "test"] = "train", cache: str | Path | None = None, address: str = ADDRESS
) -> Source:
    """Open Fashion-MNIST in the official order; downloads 30 MB the first time.

    Parameters
    ----------
    split : 60,000 or 10,000 pictures
    cache : folder to keep the files in; default see `cache_folder`
    address : where the four files are; a `file://` address works offline

    Returns
    -------
    A source of images with labels.

    Raises
    ------
    DownloadError
        If a file cannot be fetched or is not the official one.
    """
    folder = cache_folder("fashion_mnist", cache)
    images, labels = (
        read_idx(fetch(f"{address}/{name}", folder / name, CHECKSUMS[name], max_bytes=2**26))
        for name in (f"{PREFIX[split]}-images-idx3-ubyte.gz", f"{PREFIX[split]}-labels-idx1-ubyte.gz")
    )
    return image_array(
        save_once(folder / f"{split}.npy", images),
        ids=[f"{split}/{i:05d}" for i in range(len(images))],
        labels=[CLASSES[label] for label in labels.tolist()],
        classes=CLASSES,
    )


def read_idx(path: Path, max_bytes: int = 2**30) -> Array:
    """Read a gzipped file of unsigned bytes in the IDX format.

    Raises
    ------
    DownloadError
        If the content is not IDX, or its length is not what its header says.
    """
    try:
        with gzip.open(path) as file:
            data = file.read(max_bytes)
        zero, kind, n_dims = struct.unpack(">HBB", data[:4])
        shape = struct.unpack(f">{n_dims}I", data[4 : 4 + 4 * n_dims])
        if zero != 0 or kind != 8:
            raise ValueError(f"expected magic 0x08, got 0x{kind:02x}")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * n_dims).reshape(shape)
    except (OSError, EOFError, zlib.error, ValueError, struct.error) as error:
        raise DownloadError(f"{str(path)!r} is not an IDX file ({error}). Delete it and try again.") from error


def save_once(path: Path, array: Array) -> Path:
    """Save an array in the cache, whole or not at all; keep the one that is there if it fits."""
    if path.is_file() and np.load(path, mmap_mode="r", allow_pickle=False).shape == array.shape:
        return path
    temporary = path.with_name(f".{path.name}.writing.npy")
    np.save(temporary, array, allow_pickle=False)
    return temporary.replace(path)
