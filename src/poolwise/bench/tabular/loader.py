"""Read tabular data sets: svmlight text, gzipped or not, checked against the folder's index.csv.

Source: Zhan, Liu, Li & Chan, "A Comparative Survey: Benchmarking for Pool-based Active Learning",
IJCAI 2021, whose released files are the ones that the published numbers belong to.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poolwise.errors import InputError, unknown_name
from poolwise.types import IndexArray

DEFAULT_DATA_DIR = Path("../shared/data/tabular")
"""Where the released files lie, relative to the working directory or else to the checkout."""

ENDINGS = (".gz", ".txt", ".svmlight", ".libsvm", ".svm", ".dat", "-svmstyle")


@dataclass(frozen=True, slots=True)
class TabularSet:
    """One data set, whole: rows are in file order, which may be sorted by class.

    x : (n, d) float64
    y : (n,) int64 in 0..C-1, positions in `classes`
    classes : the labels as the file writes them, sorted (as numbers where they are numbers)
    """

    name: str
    x: NDArray[np.float64]
    y: IndexArray
    classes: tuple[str, ...]

    @property
    def n_classes(self) -> int:
        """Number of classes, C."""
        return len(self.classes)


def default_data_dir() -> Path:
    """Return the folder that is read when none is named; it may not exist."""
    checkout = Path(__file__).resolve().parents[4]
    beside = (checkout / DEFAULT_DATA_DIR).resolve()
    return beside if not DEFAULT_DATA_DIR.is_dir() and beside.is_dir() else DEFAULT_DATA_DIR


def find_sets(data_dir: Path) -> dict[str, Path]:
    """Map the name of every svmlight file of a folder to its path, sorted by name.

    A name is the file name without its endings: `heart-svmstyle.txt.gz` is `heart`.

    Raises
    ------
    InputError
        If there is no such folder.
    """
    if not data_dir.is_dir():
        raise InputError(
            f"no folder {str(data_dir)!r} with tabular data sets; expected svmlight text files, one a data set. "
            "Name the folder with `--data-dir FOLDER`."
        )
    paths = (p for p in data_dir.iterdir() if p.is_file() and p.name.lower().endswith(ENDINGS))
    return dict(sorted((_set_name(path), path) for path in paths))


def _set_name(path: Path) -> str:
    name = path.name
    while name.lower().endswith(ENDINGS):
        name = name[: -max(len(ending) for ending in ENDINGS if name.lower().endswith(ending))]
    return name


def load_set(name: str, data_dir: Path) -> TabularSet:
    """Read one data set of a folder and check it against `index.csv` where the folder has one.

    Raises
    ------
    UnknownNameError
        If the folder holds no such data set.
    InputError
        If the file is not svmlight text, holds a value that is not finite, has fewer than two classes,
        or differs from what `index.csv` says.
    """
    paths = find_sets(data_dir)
    if name not in paths:
        raise unknown_name(f"tabular data set in {str(data_dir)!r}", name, paths)
    raw = paths[name].read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    x, labels = parse_svmlight(text.decode("utf-8"), paths[name].name)
    classes, y = encode(labels)
    if len(classes) < 2:
        raise InputError(f"data set {name!r} has {len(classes)} class(es); a benchmark needs at least 2.")
    found = TabularSet(name, x, y, classes)
    index = data_dir / "index.csv"
    if index.is_file():
        _check_against_index(found, raw, index)
    return found


def parse_svmlight(text: str, source: str) -> tuple[NDArray[np.float64], list[str]]:
    """Parse `label index:value ...` lines; absent values are 0, text after `#` is dropped, labels stay text.

    Indices count from 1, or from 0 if any row uses 0. Memory: the dense (n, d) array.

    Returns
    -------
    (n, d) float64 and n labels.

    Raises
    ------
    InputError
        Names the file and the line.
    """
    labels: list[str] = []
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for number, line in enumerate(text.splitlines(), start=1):
        label, *pairs = line.split("#", 1)[0].split() or [""]
        if not label:
            continue
        for pair in pairs:
            column, colon, value = pair.partition(":")
            if column == "qid":
                continue
            try:
                rows.append(len(labels))
                columns.append(int(column))
                values.append(float(value))
            except ValueError:
                colon = ""
            if not colon or columns[-1] < 0 or not np.isfinite(values[-1]):
                raise InputError(
                    f"{source}, line {number}: expected `label index:value ...` with finite values; "
                    f"got {pair!r}. Correct the line or remove it."
                )
        labels.append(label)
    if not columns:
        raise InputError(f"{source} holds no `label index:value ...` lines; expected svmlight text.")
    first = min(1, min(columns))
    x = np.zeros((len(labels), max(columns) - first + 1))
    x[rows, np.asarray(columns) - first] = values
    return x, labels


def encode(labels: list[str]) -> tuple[tuple[str, ...], IndexArray]:
    """Number the classes 0..C-1 in order of their labels, as numbers where all are numbers.

    "+1" and "1" are the same class, and so are "1" and "1.0".

    Returns
    -------
    the class labels, sorted, and (n,) int64.
    """
    try:
        keys: list[float] | list[str] = [float(label) for label in labels]
    except ValueError:
        keys = labels
    names = dict(zip(keys, labels, strict=True))
    order = sorted(names)  # type: ignore[type-var]
    number = {key: i for i, key in enumerate(order)}
    return tuple(names[key] for key in order), np.array([number[key] for key in keys], dtype=np.int64)


def _check_against_index(found: TabularSet, raw: bytes, index: Path) -> None:
    with index.open(newline="", encoding="utf-8") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    if found.name not in rows:
        return
    row = rows[found.name]
    counts = {float(k): int(v) for k, v in (part.rsplit(":", 1) for part in row["class_counts"].split("|"))}
    here = dict(zip(map(float, found.classes), np.bincount(found.y).tolist(), strict=True))
    facts = (
        ("sha256", row["sha256"], hashlib.sha256(raw).hexdigest()),
        ("rows", int(row["n"]), len(found.x)),
        ("features", int(row["d"]), found.x.shape[1]),
        ("class counts", counts, here),
    )
    for what, expected, came in facts:
        if expected != came:
            raise InputError(
                f"data set {found.name!r}: {index.name} says {what} {expected}, the file has {came}. "
                "Fetch the file again, or remove its line from index.csv."
            )
