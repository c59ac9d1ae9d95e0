"""Benchmark tasks: named data with embeddings and true classes of a pool and of a test part.

A task is written `name` or `name:option=value,option=value`, for instance `fashion_mnist:pool=10000`. All
but `fashion_demo` read files from a data folder; embeddings are fitted on the pool alone. A new
task is one function here with `@benchmark_task`.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import os
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from poolwise.chance import rng_for
from poolwise.datasets.fashion_demo import N_POOL, load_demo
from poolwise.errors import InputError, OptionError
from poolwise.models.pixels import Pixels
from poolwise.models.tfidf import Tfidf
from poolwise.registry import Option, Registry, coerce
from poolwise.types import Array, IndexArray

DATA_VARIABLE = "POOLWISE_DATA"
DEFAULT_DATA_DIR = Path("../shared/data")


@dataclass(frozen=True, slots=True)
class Task:
    """Arrays of one task.

    pool, test : (N, D), (n, D) float32
    pool_labels, test_labels : (N,), (n,) int64 in [0, C)
    classes : C names
    """

    name: str
    pool: NDArray[np.float32]
    pool_labels: IndexArray
    test: NDArray[np.float32]
    test_labels: IndexArray
    classes: tuple[str, ...]

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that change when any number does."""
        found = hashlib.sha256(str(len(self.classes)).encode())
        for array in (self.pool, self.pool_labels, self.test, self.test_labels):
            found.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return found.hexdigest()[:16]


Loader = Callable[..., Task]
TASKS: Registry[Loader] = Registry("benchmark task")


def benchmark_task(name: str) -> Callable[[Loader], Loader]:
    """Register a function of the data folder and of options that returns a `Task`."""

    def register(function: Loader) -> Loader:
        TASKS.add(name, function)
        return function

    return register


def load_task(text: str, data_dir: str | Path | None = None) -> Task:
    """Load a task by what is written in a suite.

    Parameters
    ----------
    text : "name" or "name:option=value,option=value"
    data_dir : folder of data; default the environment variable POOLWISE_DATA, else ../shared/data

    Raises
    ------
    UnknownNameError
        If there is no such task.
    OptionError
        If an option is unknown or has the wrong type.
    InputError
        If the data are not there.
    """
    name, options = parse_task(text)
    task = TASKS[name](data_folder(data_dir), **options)
    return Task(text, task.pool, task.pool_labels, task.test, task.test_labels, task.classes)


def parse_task(text: str) -> tuple[str, dict[str, Any]]:
    """Split a task into its name and its checked options."""
    name, _, rest = text.partition(":")
    loader = TASKS[name.strip()]
    hints = typing.get_type_hints(loader)
    known = {
        p.name: Option(p.name, hints[p.name], p.default)
        for p in inspect.signature(loader).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
    options = {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in known:
            says = ", ".join(f"{o.name} ({o.describe()})" for o in known.values()) or "none"
            raise OptionError(f"task {text!r}: expected OPTION=VALUE, got {part!r}. Options of {name!r}: {says}.")
        options[key] = coerce(f"task {text!r}: option {key!r}", _value(value), known[key].type)
    return name.strip(), options


def data_folder(data_dir: str | Path | None = None) -> Path:
    """Return the folder that tasks read from; it may not exist."""
    return Path(data_dir or os.environ.get(DATA_VARIABLE) or DEFAULT_DATA_DIR).expanduser()


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise InputError(
            f"benchmark data {name!r} not found in {str(folder)!r}. Name the folder that holds it with "
            f"`--data-dir FOLDER` or {DATA_VARIABLE}=FOLDER; the task `fashion_demo` needs no data."
        )
    return path


def _subset(labels: IndexArray, size: int, name: str) -> IndexArray:
    """Draw the same `size` rows every time, in order; all rows if that many."""
    if not 2 <= size <= len(labels):
        raise OptionError(f"task {name!r}: pool must be between 2 and {len(labels)} rows; got {size}.")
    return np.sort(rng_for(0, "benchmark pool").permutation(len(labels))[:size])


def _from_pixels(
    name: str, pool: Array, pool_labels: Array, test: Array, test_labels: Array, classes: tuple[str, ...]
) -> Task:
    """Embed (n, ...) uint8 pictures as `poolwise embed --backbone pixels` does, without shrinking them."""
    flat = [part.reshape(len(part), -1) for part in (pool, test)]
    model = Pixels().fit(list(flat[0]), rng_for(0, "benchmark pixels"))
    return Task(
        name,
        model.embed(list(flat[0])),
        pool_labels.astype(np.int64),
        model.embed(list(flat[1])),
        test_labels.astype(np.int64),
        classes,
    )


def _from_texts(
    name: str, folder: Path, train: str, test: str, pool: int | None, width: int, columns: list[str]
) -> Task:
    """Embed texts as `poolwise embed --backbone tfidf` does."""
    texts, labels, classes = _read_texts(_file(folder, f"text/{train}.parquet"), columns)
    test_texts, test_labels, _ = _read_texts(_file(folder, f"text/{test}.parquet"), columns)
    rows = _subset(labels, len(labels) if pool is None else pool, name)
    model = Tfidf(width)
    prepared = [model.prepare(texts[row]) for row in rows.tolist()]
    fitted = model.fit(prepared, rng_for(0, "benchmark tfidf"))
    prepared_test = [model.prepare(text) for text in test_texts]
    return Task(name, fitted.embed(prepared), labels[rows], fitted.embed(prepared_test), test_labels, classes)


def _read_texts(path: Path, columns: list[str]) -> tuple[list[str], IndexArray, tuple[str, ...]]:
    table = pq.read_table(path, columns=[*columns, "label"])
    parts = [[value or "" for value in table[column].to_pylist()] for column in columns]
    names = json.loads((table.schema.metadata or {}).get(b"label_names", b"[]"))
    labels = table["label"].to_numpy().astype(np.int64)
    classes = tuple(str(name) for name in names) or tuple(str(c) for c in range(labels.max() + 1))
    return ["\n".join(pieces) for pieces in zip(*parts, strict=True)], labels, classes


@benchmark_task("fashion_demo")
def fashion_demo(folder: Path, *, pool: int = N_POOL) -> Task:
    """Bundled part of Fashion-MNIST, pixels: 5,000 pool and 1,000 test pictures of 10 classes."""
    images, labels, names = load_demo()
    rows = _subset(labels[:N_POOL], pool, "fashion_demo")
    return _from_pixels("fashion_demo", images[rows], labels[rows], images[N_POOL:], labels[N_POOL:], names)


@benchmark_task("fashion_mnist")
def fashion_mnist(folder: Path, *, pool: int = 10_000) -> Task:
    """Fashion-MNIST, pixels: `pool` of 60,000 pictures, 10,000 for testing, 10 classes."""
    return _image_file("fashion_mnist", folder, pool)


@benchmark_task("mnist")
def mnist(folder: Path, *, pool: int = 10_000) -> Task:
    """MNIST, pixels: `pool` of 60,000 pictures, 10,000 for testing, 10 classes."""
    return _image_file("mnist", folder, pool)


@benchmark_task("pneumoniamnist_balanced")
def pneumoniamnist(folder: Path, *, pool: int = 2428) -> Task:
    """PneumoniaMNIST, balanced by its source, pixels: `pool` of 2,428 pictures, 468 for testing, 2 classes."""
    return _image_file("pneumoniamnist_balanced", folder, pool)


def _image_file(name: str, folder: Path, pool: int) -> Task:
    with np.load(_file(folder, f"images/{name}.npz"), allow_pickle=False) as data:
        labels = data["train_labels"]
        rows = _subset(labels, pool, name)
        classes = tuple(str(c) for c in data["label_names"])
        return _from_pixels(
            name, data["train_images"][rows], labels[rows], data["test_images"], data["test_labels"], classes
        )


@benchmark_task("cifar10")
def cifar10(folder: Path, *, pool: int = 10_000) -> Task:
    """CIFAR-10, pixels: `pool` of 50,000 pictures, 10,000 for testing, 10 classes."""
    table = pq.read_table(_file(folder, "images/cifar10_train.parquet"), columns=["image", "label"])
    test = pq.read_table(_file(folder, "images/cifar10_test.parquet"), columns=["image", "label"])
    rows = _subset(table["label"].to_numpy(), pool, "cifar10")
    classes = tuple(json.loads(table.schema.metadata[b"label_names"]))
    table = table.take(rows)
    return _from_pixels(
        "cifar10",
        _decode(table["image"].to_pylist()),
        table["label"].to_numpy(),
        _decode(test["image"].to_pylist()),
        test["label"].to_numpy(),
        classes,
    )


def _decode(pictures: list[bytes]) -> NDArray[np.uint8]:
    return np.stack([np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in pictures])


@benchmark_task("tiny_imagenet_features")
def tiny_imagenet_features(folder: Path, *, pool: int = 25_000) -> Task:
    """Tiny ImageNet, MobileNet-v2 features: `pool` of 25,000 rows of width 256, 3,000 for testing, 200 classes."""
    return _tiny_imagenet("tiny_imagenet_features", folder, pool, None)


@benchmark_task("tiny_imagenet_features_lt")
def tiny_imagenet_features_lt(folder: Path, *, factor: float = 0.05) -> Task:
    """Tiny ImageNet with a long tail: class c keeps int(125 factor^(c / 199)) rows; the test part stays balanced.

    Source of the profile: Cui et al., "Class-Balanced Loss", CVPR 2019, section 5.1. Which class is large is
    drawn once, as neighbours in the order of names are related.
    """
    if not 0 < factor <= 1:
        raise OptionError(f"task 'tiny_imagenet_features_lt': factor must be above 0 and at most 1; got {factor}.")
    return _tiny_imagenet("tiny_imagenet_features_lt", folder, None, factor)


def _tiny_imagenet(name: str, folder: Path, pool: int | None, factor: float | None) -> Task:
    path = _file(folder, "features/tiny_imagenet200_mobilenetv2_96px_pca256.npz")
    with np.load(path, allow_pickle=False) as data:
        labels = data["train_labels"].astype(np.int64)
        rows = _subset(labels, len(labels) if pool is None else pool, name)
        if factor is not None:
            rows = long_tail(labels, factor)
        return Task(
            name,
            data["train_features"][rows].astype(np.float32),
            labels[rows],
            data["val_features"].astype(np.float32),
            data["val_labels"].astype(np.int64),
            tuple(str(c) for c in range(200)),
        )


@benchmark_task("tiny_imagenet_mobilenetv1")
def tiny_imagenet_mobilenetv1(folder: Path, *, pool: int = 10_000, classes: int = 50) -> Task:
    """Tiny ImageNet, MobileNet-v1 features: `pool` rows of width 64, 3,000 for testing, `classes` of 200 classes.

    Which classes is drawn once.
    """
    name = "tiny_imagenet_mobilenetv1"
    if not 2 <= classes <= 200:
        raise OptionError(f"task {name!r}: classes must be between 2 and 200; got {classes}.")
    kept = np.sort(rng_for(0, "benchmark classes").permutation(200)[:classes])
    path = _file(folder, "features/tiny_imagenet200_pool100k_mobilenetv1_025_pca64.npz")
    with np.load(path, allow_pickle=False) as data:
        rows = np.flatnonzero(np.isin(data["labels"], kept))
        labels = np.searchsorted(kept, data["labels"][rows])
        features = data["features"][rows].astype(np.float32)
    n_test = 3000
    first = _subset(labels[:-n_test], pool, name)
    return Task(name, features[first], labels[first], features[-n_test:], labels[-n_test:], tuple(str(c) for c in kept))


def long_tail(labels: IndexArray, factor: float, rng: np.random.Generator | None = None) -> IndexArray:
    """Thin classes out exponentially: (n,) sorted rows; without a generator the same every time.

    The k-th class of a drawn order keeps int(n_max * factor^(k / (C - 1))) rows, at least 1, n_max being the largest
    class.
    """
    rng = rng or rng_for(0, "long tail")
    n_classes = int(labels.max()) + 1
    n_max = int(np.bincount(labels).max())
    kept = []
    for place, c in enumerate(rng.permutation(n_classes).tolist()):
        size = max(1, int(n_max * factor ** (place / max(1, n_classes - 1))))
        kept.append(rng.permutation(np.flatnonzero(labels == c))[:size])
    return np.sort(np.concatenate(kept))


@benchmark_task("newsgroups20_tfidf")
def newsgroups20_tfidf(folder: Path, *, width: int = 256) -> Task:
    """20 newsgroups by date, TF-IDF and SVD: 11,314 postings, 7,532 for testing, 20 classes."""
    return _from_texts(
        "newsgroups20_tfidf", folder, "newsgroups20_train", "newsgroups20_test", None, width, ["subject", "body"]
    )


@benchmark_task("banking77")
def banking77(folder: Path, *, width: int = 256) -> Task:
    """Banking77, TF-IDF and SVD: 10,003 questions, 3,080 for testing, 77 classes."""
    return _from_texts("banking77", folder, "banking77_train", "banking77_test", None, width, ["text"])


@benchmark_task("sst2")
def sst2(folder: Path, *, pool: int = 10_000, width: int = 256) -> Task:
    """SST-2, TF-IDF and SVD: `pool` of 67,349 phrases, 1,821 sentences for testing, 2 classes."""
    return _from_texts("sst2", folder, "sst2_train", "sst2_test", pool, width, ["text"])


@benchmark_task("trec6")
def trec6(folder: Path, *, width: int = 256) -> Task:
    """TREC questions, TF-IDF and SVD: 5,452 questions, 500 for testing, 6 classes."""
    return _from_texts("trec6", folder, "trec6_train", "trec6_test", None, width, ["text"])


@benchmark_task("ag_news")
def ag_news(folder: Path, *, width: int = 256) -> Task:
    """AG News, TF-IDF and SVD: 10,001 descriptions, 7,600 for testing, 4 classes."""
    return _from_texts("ag_news", folder, "ag_news_train10k", "ag_news_test", None, width, ["text"])


@benchmark_task("imdb")
def imdb(folder: Path, *, width: int = 256) -> Task:
    """IMDB reviews, TF-IDF and SVD: 7,500 reviews, 5,000 for testing, 2 classes."""
    return _from_texts("imdb", folder, "imdb_train", "imdb_test", None, width, ["text"])


@benchmark_task("tabular")
def tabular(folder: Path, *, set: str = "spambase", split: int = 0) -> Task:
    """One of the tabular sets, 60 % pool and 40 % test drawn by `split`, columns standardised on the pool."""
    from poolwise.bench.tabular.loader import load_set

    data = load_set(set, folder / "tabular")
    order = rng_for(split, "tabular split").permutation(len(data.y))
    pool, test = np.split(order, [round(0.6 * len(order))])
    mean, spread = data.x[pool].mean(axis=0), data.x[pool].std(axis=0)
    x = ((data.x - mean) / np.where(spread > 0, spread, 1)).astype(np.float32)
    return Task("tabular", x[pool], data.y[pool], x[test], data.y[test], data.classes)
