"""The bundled demo data: 6,000 pictures of Fashion-MNIST, read without a network.

Source: Xiao, Rasul & Vollgraf, arXiv:1708.07747, 2017; licence MIT, see data/README.md.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from poolwise.datasets.download import cache_folder
from poolwise.datasets.fashion_mnist import save_once
from poolwise.datasets.image_array import image_array
from poolwise.datasets.source import Source
from poolwise.registry import dataset

N_POOL = 5000
"""Pictures 0 to 4,999 are the pool, the others the test part."""


def load_demo() -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...]]:
    """Read the bundled pictures.

    Returns
    -------
    images : (6000, 28, 28) uint8, the first `N_POOL` for the pool, the rest for testing
    labels : (6000,) int64 in [0, 10)
    names : the 10 class names
    """
    facts = _facts()
    with (files("poolwise.datasets") / "data" / "fashion_demo.png").open("rb") as file:
        sheet = np.asarray(Image.open(file))  # (60 * 28, 100 * 28)
    images = sheet.reshape(-1, 28, facts["per_row"], 28).swapaxes(1, 2).reshape(-1, 28, 28)
    labels = np.frombuffer(facts["labels"].encode("ascii"), dtype=np.uint8).astype(np.int64) - ord("0")
    return np.ascontiguousarray(images), labels, tuple(facts["classes"])


@dataset("fashion-demo")
def fashion_demo(*, split: Literal["pool", "test"] = "pool", cache: str | Path | None = None) -> Source:
    """Open the bundled part of Fashion-MNIST; nothing is downloaded.

    Parameters
    ----------
    split : 5,000 or 1,000 pictures
    cache : folder to unpack the pictures into; default see `cache_folder`

    Returns
    -------
    A source of images with labels.
    """
    images, labels, names = load_demo()
    part = slice(0, N_POOL) if split == "pool" else slice(N_POOL, None)
    rows = np.arange(len(images))[part].tolist()
    return image_array(
        save_once(cache_folder("fashion_demo", cache) / f"{split}.npy", images[part]),
        ids=[f"{split}/{row:04d}" for row in rows],
        labels=[names[label] for label in labels[part].tolist()],
        classes=names,
    )


def _facts() -> dict[str, Any]:
    text = (files("poolwise.datasets") / "data" / "fashion_demo.json").read_text(encoding="utf-8")
    facts: dict[str, Any] = json.loads(text)
    return facts
