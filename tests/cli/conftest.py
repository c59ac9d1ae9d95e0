"""A folder as a user would have it, and a way to run commands in it."""

from __future__ import annotations

import csv
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from poolwise.cli.main import main

COLOURS = {"blue tit": (40, 90, 200), "robin": (200, 70, 40), "wren": (120, 90, 50)}


@dataclass
class Answer:
    code: int
    out: str
    err: str

    def json(self):
        return json.loads(self.out)


Run = Callable[..., Answer]


@pytest.fixture
def poolwise(monkeypatch, capsys, tmp_path) -> Run:
    """Run `poolwise ...` in a temporary folder and return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(command: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["poolwise", *shlex.split(command)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return run


@pytest.fixture
def photos(tmp_path) -> Path:
    """Sixty small pictures in three class folders; colour and noise make them learnable and distinct."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(20):
            pixels = np.clip(rng.normal(colour, 40, size=(16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return tmp_path / "photos"


@pytest.fixture
def embedded(poolwise, photos) -> Run:
    """The same, with birds.pool made and embedded."""
    assert poolwise("init birds.pool --images photos/").code == 0
    assert poolwise("embed birds.pool --backbone pixels").code == 0
    return poolwise


@pytest.fixture
def trained(labeled) -> Run:
    """The same, with the answers imported."""
    assert labeled("import birds.pool labels.csv").code == 0
    return labeled


def label_file(batch: list[dict], path: Path) -> Path:
    """Write the true labels (class folders) of a batch as item_id,label."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "label"])
        writer.writerows([row["item_id"], row["item_id"].split("/")[0]] for row in batch)
    return path


@pytest.fixture
def labeled(embedded, tmp_path) -> Run:
    """The same, with one batch asked for and its answers in labels.csv, not yet imported."""
    batch = embedded("query birds.pool --strategy typiclust --batch-size 9 --json").json()["batch"]
    label_file(batch, tmp_path / "labels.csv")
    return embedded
