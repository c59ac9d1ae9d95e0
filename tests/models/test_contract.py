"""What every backbone obeys: cited, chosen by name, honest about what it reads."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
from PIL import Image

from poolwise.errors import MissingExtraError, OptionError, UnknownNameError
from poolwise.models import Fittable, default_backbone, open_backbone
from poolwise.models.backbone import EmbeddedContent
from poolwise.registry import BACKBONES

OFFLINE = {"pixels": "image", "tfidf": "text"}
DEEP = sorted(set(BACKBONES.names()) - set(OFFLINE))

TEXTS = ["one small cat", "two small dogs", "a cat and a dog", "nothing alike here", "cat cat cat", "dogs and cats"]
PICTURES = [Image.effect_noise((20, 30), 20 * i).convert("RGB") for i in range(1, 7)]
SAMPLES = {"image": PICTURES, "text": TEXTS}


@pytest.mark.parametrize("name", BACKBONES.names())
def test_its_module_cites_a_source(name: str) -> None:
    doc = sys.modules[BACKBONES[name].__module__].__doc__ or ""
    assert "Source:" in doc or "&" in doc


@pytest.mark.parametrize("name", sorted(OFFLINE))
def test_the_same_seed_gives_the_same_vectors_and_digest(name: str) -> None:
    content: EmbeddedContent = "image" if OFFLINE[name] == "image" else "text"
    assert default_backbone(content) == name
    opened = open_backbone(name, content=content)
    assert isinstance(opened, Fittable)
    prepared = [opened.prepare(sample) for sample in SAMPLES[content]]  # type: ignore[attr-defined]
    one = opened.fit(prepared, np.random.default_rng(3))
    two = opened.fit(prepared, np.random.default_rng(3))
    assert one.digest == two.digest
    vectors = one.embed(prepared)
    assert vectors.dtype == np.float32
    assert vectors.shape == (6, one.width)
    assert np.array_equal(vectors, two.embed(prepared))
    assert np.isfinite(vectors).all()
    assert np.allclose(one.embed(prepared[2:3])[0], vectors[2], atol=1e-6), "a row does not depend on its batch"
    other = opened.fit(prepared[:5], np.random.default_rng(3))
    assert other.digest != one.digest, "another transform is another digest"


@pytest.mark.parametrize("name", sorted(OFFLINE))
def test_parameters_survive_a_file_without_objects(name: str, tmp_path) -> None:
    content: EmbeddedContent = "image" if OFFLINE[name] == "image" else "text"
    opened = open_backbone(name, content=content)
    assert isinstance(opened, Fittable)
    prepared = [opened.prepare(sample) for sample in SAMPLES[content]]  # type: ignore[attr-defined]
    fitted = opened.fit(prepared, np.random.default_rng(0))
    np.savez(tmp_path / "p.npz", allow_pickle=False, **fitted.parameters)  # type: ignore[attr-defined]
    with np.load(tmp_path / "p.npz", allow_pickle=False) as archive:
        restored = opened.restored({key: archive[key] for key in archive.files})
    assert restored.digest == fitted.digest
    assert np.array_equal(restored.embed(prepared), fitted.embed(prepared))


@pytest.mark.parametrize("name", sorted(OFFLINE))
@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_equal_items_are_enough(name: str, count: int) -> None:
    content: EmbeddedContent = "image" if OFFLINE[name] == "image" else "text"
    opened = open_backbone(name, content=content)
    assert isinstance(opened, Fittable)
    prepared = [opened.prepare(SAMPLES[content][0])] * count  # type: ignore[attr-defined]
    vectors = opened.fit(prepared, np.random.default_rng(0)).embed(prepared)
    assert np.isfinite(vectors).all()
    assert np.array_equal(vectors, np.repeat(vectors[:1], count, axis=0))


def test_a_backbone_for_other_content_is_refused_with_one_that_fits() -> None:
    with pytest.raises(OptionError, match=r"reads images, but the pool holds texts. Try --backbone tfidf"):
        open_backbone("pixels", content="text")
    with pytest.raises(OptionError, match=r"reads texts, but the pool holds images. Try --backbone pixels"):
        open_backbone("tfidf", content="image")


def test_wrong_names_options_and_weights_are_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'pixels'"):
        open_backbone("pixel", content="image")
    for name in ("pixels:big", "pixels:2", "pixels:1000"):
        with pytest.raises(OptionError, match="such as pixels:32"):
            open_backbone(name, content="image")
    with pytest.raises(OptionError, match="such as tfidf:256"):
        open_backbone("tfidf:x", content="text")
    with pytest.raises(OptionError, match="'pixels' has no weights"):
        open_backbone("pixels", content="image", weights="x.safetensors")


@pytest.mark.parametrize("name", DEEP)
def test_without_the_extra_the_error_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def without_torch(wanted: str, package: str | None = None) -> object:
        if wanted == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(wanted, package)

    monkeypatch.setattr(importlib, "import_module", without_torch)
    with pytest.raises(MissingExtraError, match=r"needs the package 'torch'.*pip install .*poolwise\[torch\]"):
        open_backbone(f"{name}:x", content="text")


def test_importing_the_models_imports_no_torch() -> None:
    import subprocess

    code = "import sys, poolwise.models, poolwise.train.embed; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
