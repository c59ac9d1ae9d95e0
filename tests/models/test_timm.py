"""timm models, made here and loaded from local safetensors; nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from poolwise.errors import InputError, OptionError, UnknownNameError
from poolwise.models import open_backbone
from poolwise.models.torchvision_compat import ensure_torchvision
from poolwise.models.weights import require

torch = pytest.importorskip("torch")
ensure_torchvision()
pytest.importorskip("timm")

NAME = "test_vit"  # 0.4 million parameters, in timm for tests such as this
PICTURES = [Image.effect_noise((70, 50), 60).convert("RGB"), Image.new("RGB", (30, 90), "blue")]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    torch.manual_seed(0)
    network = require("timm", "tests").create_model(NAME, pretrained=False, num_classes=7).eval()
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    require("safetensors.torch", "tests").save_file(network.state_dict(), str(path))
    return network, path


def open_it(name: str = f"timm:{NAME}", **options: Any) -> Any:
    return open_backbone(name, content="image", device="cpu", **options)


def test_vectors_are_the_pooled_features_before_the_classifier(saved: tuple[Any, Path]) -> None:
    network, path = saved
    opened = open_it(weights=path)
    prepared = [opened.prepare(picture) for picture in PICTURES]
    got = opened.embed(prepared)
    with torch.inference_mode():
        x = network.forward_features(torch.stack(prepared))
        expected = network.forward_head(x, pre_logits=True).numpy()
    assert got.shape == (2, opened.width)
    assert got.dtype == np.float32
    assert np.allclose(got, expected, atol=1e-5)


def test_the_transform_is_the_one_the_model_was_trained_with(saved: tuple[Any, Path]) -> None:
    network, path = saved
    config = network.pretrained_cfg
    side = config["input_size"][1]
    grey = Image.new("RGB", (side, side), (128, 128, 128))
    got = open_it(weights=path).prepare(grey)
    expected = (128 / 255 - np.array(config["mean"])) / np.array(config["std"])
    assert tuple(got.shape) == (3, side, side)
    assert np.allclose(got.mean(dim=(1, 2)).numpy(), expected, atol=1e-5)


def test_a_folder_as_the_hub_has_it_names_its_own_architecture_and_transform(saved: tuple[Any, Path]) -> None:
    _, path = saved
    config = {"architecture": NAME, "pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1], "tag": "x"}}
    (path.parent / "config.json").write_text(json.dumps(config))
    opened = open_it(f"timm:{path.parent}")
    white = Image.new("RGB", (200, 200), "white")
    assert float(opened.prepare(white).mean()) == 1.0
    (path.parent / "config.json").unlink()
    with pytest.raises(InputError, match=r"no config.json that names the architecture. Say timm:ARCHITECTURE"):
        open_it(f"timm:{path.parent}")


def test_the_digest_follows_the_weights(saved: tuple[Any, Path], tmp_path: Path) -> None:
    network, path = saved
    state = {key: value.clone() for key, value in network.state_dict().items()}
    state["norm.bias"][0] += 1
    require("safetensors.torch", "tests").save_file(state, str(tmp_path / "other.safetensors"))
    assert open_it(weights=tmp_path / "other.safetensors").digest != open_it(weights=path).digest
    assert open_it(weights=path).digest == open_it(weights=path).digest


@pytest.mark.gpu
def test_a_gpu_gives_the_same_vectors_to_four_digits(saved: tuple[Any, Path]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    cpu, gpu = (
        open_it(weights=saved[1]),
        open_backbone(f"timm:{NAME}", content="image", weights=saved[1], device="cuda"),
    )
    prepared = [cpu.prepare(picture) for picture in PICTURES]
    assert np.allclose(cpu.embed(prepared), gpu.embed(prepared), rtol=1e-3, atol=1e-4)
    assert cpu.digest == gpu.digest


def test_weights_of_another_architecture_are_refused(saved: tuple[Any, Path]) -> None:
    with pytest.raises(InputError, match=r"does not fit timm model 'resnet10t' .*Missing key"):
        open_it("timm:resnet10t", weights=saved[1])


def test_wrong_names_and_files_are_named(saved: tuple[Any, Path], tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no timm model named 'resnet10tt'; did you mean 'resnet10t"):
        open_it("timm:resnet10tt", weights=saved[1])
    with pytest.raises(OptionError, match="needs a model, such as timm:vit_small"):
        open_it("timm:")
    (tmp_path / "bad.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00nonsense")
    with pytest.raises(InputError, match="is not a safetensors file"):
        open_it(weights=tmp_path / "bad.safetensors")
    with pytest.raises(OptionError, match=r"device 'cud' is not on this machine; there is .*cpu"):
        open_backbone(f"timm:{NAME}", content="image", weights=saved[1], device="cud")
