"""The pictures of the reference: one pool for all, small files, picks that can be told apart."""

from __future__ import annotations

import importlib.util
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import poolwise.pool  # noqa: F401  (registers everything)
from poolwise.registry import STRATEGIES

ROOT = Path(__file__).resolve().parents[1]
spec = importlib.util.spec_from_file_location("toy_pictures", ROOT / "scripts" / "toy_pictures.py")
toys = sys.modules["toy_pictures"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toys)
PICTURES = sorted((ROOT / "docs" / "reference" / "strategies").glob("*.svg"))


@pytest.fixture(scope="module")
def toy():
    return toys.toy_pool()


def test_the_pool_has_unequal_classes_an_outlier_and_a_cloud_of_no_interest(toy):
    assert np.bincount(toy.group).tolist() == [88, 47, 12, 34]
    far = np.sort(np.hypot(*(toy.places - toys.OUTLIER).T))
    assert far[0] == 0
    assert far[1] > 2
    assert np.bincount(toy.group[toy.labeled]).tolist() == [4, 3, 1]
    assert set(toy.group[toy.rejected]) == {toys.FOREIGN}
    assert np.array_equal(toys.toy_pool().places, toy.places)


def test_margin_picks_the_items_nearest_to_a_border(toy):
    """Logits are -0.8 d^2, so the margin follows the gap between the two smallest squared distances to a centre."""
    d = ((toy.places[:, None] - toys.CENTRES[:3]) ** 2).sum(axis=2) * toys.SHARPNESS / 2
    p = np.exp(-d) / np.exp(-d).sum(axis=1, keepdims=True)
    gap = np.sort(p, axis=1)[:, -1] - np.sort(p, axis=1)[:, -2]
    gap[np.concatenate([toy.labeled, toy.rejected])] = np.inf
    assert set(toys.picks_of(STRATEGIES["margin"], toy)) == set(np.argsort(gap)[: toys.BATCH])


def test_discs_of_neighbours_do_not_cover_each_other_and_stay_inside():
    spots = np.array([[230.0, 150.0]] * 5 + [[1.0, 1.0], [459.0, 293.0], [231.0, 150.0]])
    discs = toys.apart(spots)
    gaps = np.hypot(*(discs[:, None] - discs[None]).transpose(2, 0, 1)) + 100 * np.eye(8)
    assert gaps.min() > 2 * toys.DISC
    assert (discs >= toys.DISC).all()
    assert (discs <= np.array([460, 294.4]) - toys.DISC).all()


def test_there_is_a_picture_of_every_strategy():
    names = {name for name in STRATEGIES if STRATEGIES[name].function.__module__.startswith("poolwise.")}
    assert names <= {path.stem for path in PICTURES}


@pytest.mark.parametrize("path", PICTURES, ids=lambda p: p.stem)
def test_a_picture_is_small_static_and_has_eight_numbered_picks(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < 15_000
    assert not re.search(r"<script|href|url\(|onload", text)
    root = ET.fromstring(text)
    numbers = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert numbers == [str(n) for n in range(1, 9)]
    assert root.find("{http://www.w3.org/2000/svg}title").text == f"What {path.stem} picks"
