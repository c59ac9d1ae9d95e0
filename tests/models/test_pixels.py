"""Facts particular to pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from poolwise.models.pixels import Pixels, pixels


def nearest_neighbour_accuracy(x: np.ndarray, y: np.ndarray, n_train: int) -> float:
    """Share of the later rows whose nearest earlier row has the same class."""
    train, test = x[:n_train].astype(np.float64), x[n_train:].astype(np.float64)
    gaps = (test**2).sum(1)[:, None] - 2 * test @ train.T + (train**2).sum(1)
    return float(np.mean(y[:n_train][gaps.argmin(axis=1)] == y[n_train:]))


def test_it_is_a_principal_component_projection(rng: np.random.Generator) -> None:
    images = [Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)) for _ in range(40)]
    opened = pixels("4")
    small = [opened.prepare(image) for image in images]
    assert np.array_equal(small[0], np.asarray(images[0]).reshape(-1)), "nothing to shrink"
    got = opened.fit(small, rng).embed(small)  # (40, 40)
    x = np.stack(small) / 255
    centred = x - x.mean(axis=0)
    products = centred @ centred.T  # scalar products survive a rotation that keeps all components
    scale = np.trace(products) / len(x)
    assert np.allclose(got @ got.T, products / scale, atol=1e-4)


def test_identical_images_give_zero_not_nan(rng: np.random.Generator) -> None:
    image = Image.new("RGB", (50, 50), "red")
    opened = Pixels()
    small = [opened.prepare(image)] * 5
    assert np.abs(opened.fit(small, rng).embed(small)).max() < 1e-3


def test_real_classes_are_neighbours(shared_data: Path) -> None:
    with np.load(shared_data / "images" / "fashion_mnist.npz") as archive:
        images, labels = archive["train_images"][:2500], archive["train_labels"][:2500]
    opened = Pixels()
    small = [opened.prepare(Image.fromarray(image).convert("RGB")) for image in images]
    vectors = opened.fit(small[:1500], np.random.default_rng(0)).embed(small)
    assert vectors.shape == (2500, 128)
    raw = np.stack([image.reshape(-1) for image in images]).astype(np.float32)
    ours, plain = nearest_neighbour_accuracy(vectors, labels, 2000), nearest_neighbour_accuracy(raw, labels, 2000)
    assert ours > 0.76, f"1-NN {ours:.3f}; chance is 0.1"
    assert ours > plain - 0.02, "128 numbers say as much as all 784 pixels"
