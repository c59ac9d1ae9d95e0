"""Facts about the bundled demo data."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from poolwise.datasets.fashion_demo import N_POOL, _facts, fashion_demo, load_demo


def test_classes_are_equally_many_in_pool_and_test_part():
    images, labels, names = load_demo()
    assert images.shape == (6000, 28, 28)
    assert images.dtype == np.uint8
    assert np.bincount(labels[:N_POOL]).tolist() == [500] * 10
    assert np.bincount(labels[N_POOL:]).tolist() == [100] * 10
    assert names[1] == "Trouser"


def test_pictures_equal_the_official_ones(shared_data):
    images, labels, _ = load_demo()
    rows = _facts()["official_rows"]
    with np.load(shared_data / "images" / "fashion_mnist.npz") as official:
        assert np.array_equal(images[:N_POOL], official["train_images"][rows["train"]])
        assert np.array_equal(images[N_POOL:], official["test_images"][rows["test"]])
        assert np.array_equal(labels[:N_POOL], official["train_labels"][rows["train"]])


def test_bundle_is_small_and_has_its_licence():
    folder = files("poolwise.datasets") / "data"
    sizes = [len(path.read_bytes()) for path in folder.iterdir()]
    assert sum(sizes) < 3_000_000
    assert "Zalando" in (folder / "LICENSE").read_text(encoding="utf-8")


def test_source_lists_pool_and_test_part(tmp_path):
    pool, test = fashion_demo(cache=tmp_path), fashion_demo(split="test", cache=tmp_path)
    assert (len(pool), len(test)) == (5000, 1000)
    assert pool.items[0].item_id == "pool/0000"
    assert test.items[0].item_id == "test/5000"
    assert pool.labels[0] in pool.classes
