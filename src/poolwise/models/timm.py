"""Image models of the timm library: `timm:MODEL`, pooled features before the classifier.

Source: Wightman, "PyTorch Image Models", 2019, github.com/huggingface/pytorch-image-models.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from poolwise.errors import InputError, OptionError, UnknownNameError, unknown_name
from poolwise.models.backbone import EmbeddedContent, digest_of
from poolwise.models.weights import (
    files_digest,
    find_model,
    hub_folder,
    load_state,
    one_safe_file,
    pick_device,
    require,
)
from poolwise.registry import backbone

EXAMPLE = "timm:vit_small_patch14_dinov2.lvd142m"


@backbone("timm")
def timm(
    model: str,
    *,
    content: EmbeddedContent = "image",
    weights: str | Path | None = None,
    device: str = "auto",
) -> Timm:
    """Open a timm model, with its own transform.

    Parameters
    ----------
    model : name in timm, with or without the tag of its weights; or a folder with config.json and
        model.safetensors, as the hub has them; or owner/name on the hub
    weights : .safetensors file, or folder with one; then nothing is downloaded
    device : see `pick_device`

    Raises
    ------
    MissingExtraError
        If timm is not installed.
    UnknownNameError
        If timm has no such model; the nearest names are suggested.
    InputError
        If the weights do not fit the model, or are no safetensors.
    """
    library = require("timm", "the backbone 'timm'")
    if not model:
        raise OptionError(f"backbone 'timm' needs a model, such as {EXAMPLE}.")
    path = find_model(model, weights)
    if path is None and "/" in model:
        path = hub_folder(model)
    settings = _folder_settings(path)
    architecture = settings.pop("architecture", None) if path and ("/" in model or Path(model).exists()) else model
    architecture = architecture or _no_architecture(model)
    _check_name(library, architecture)
    if path is None:
        path = hub_folder(_hub_id(library, architecture))
    network = _load(library, architecture, path, settings)
    config = library.data.resolve_data_config({}, model=network)
    config = {key: value for key, value in config.items() if isinstance(value, int | float | str | list | tuple)}
    return Timm(
        name=f"timm:{model}",
        network=network.eval().float().to(pick_device(device)),
        transform=library.data.create_transform(**config, is_training=False),
        width=int(network.num_features if not hasattr(network, "head_hidden_size") else network.head_hidden_size),
        digest=digest_of({"architecture": architecture, "transform": config, "weights": files_digest(path)}),
    )


@dataclass(frozen=True)
class Timm:
    """A timm network without its classifier, and the transform it was trained with."""

    name: str
    network: Any
    transform: Any
    width: int
    digest: str
    content: EmbeddedContent = "image"
    at_least: int | None = None

    def prepare(self, content: Image.Image) -> Any:
        """Resize, crop and normalise to a (3, H, W) tensor."""
        return self.transform(content)

    def embed(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        """Pooled features of n images: (n, D) float32; one forward pass."""
        torch = require("torch", "the backbone 'timm'")
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            features = self.network(torch.stack(list(prepared)).to(device))
        return np.asarray(features.float().cpu().numpy().reshape(len(prepared), -1))


def _folder_settings(path: Path | None) -> dict[str, Any]:
    """Read what a config.json beside the weights says about architecture and transform."""
    config = path / "config.json" if path is not None and path.is_dir() else None
    if config is None or not config.is_file():
        return {}
    said = json.loads(config.read_text(encoding="utf-8"))
    transform = {k: v for k, v in (said.get("pretrained_cfg") or {}).items() if k in TRANSFORM_SETTINGS}
    return transform | ({"architecture": said["architecture"]} if "architecture" in said else {})


CLASSIFIERS = ("head", "fc", "classifier", "head.fc", "head_dist")
"""Where timm models keep their last layer."""

TRANSFORM_SETTINGS = ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")


def _no_architecture(model: str) -> str:
    raise InputError(
        f"folder {model!r} has no config.json that names the architecture. "
        f"Say timm:ARCHITECTURE with weights={model!r}."
    )


def _check_name(library: Any, architecture: str) -> None:
    if not library.is_model(architecture.partition(".")[0]):
        error: UnknownNameError = unknown_name("timm model", architecture, library.list_models(pretrained=True))
        raise UnknownNameError(f"{str(error).partition('Known:')[0].strip()} All names: timm.list_models().")


def _hub_id(library: Any, architecture: str) -> str:
    config = library.get_pretrained_cfg(architecture, allow_unregistered=True)
    if config is None or not config.hf_hub_id:
        raise InputError(f"timm publishes no weights for {architecture!r} on the hub. Give weights=FILE.safetensors.")
    hub_id = str(config.hf_hub_id)
    return f"{hub_id}{architecture}" if hub_id.endswith("/") else hub_id


def _load(library: Any, architecture: str, path: Path, settings: dict[str, Any]) -> Any:
    """Build the network without classifier and load the weights, every one of them.

    timm loads loosely when it drops a classifier itself. So the classifier is taken out here, and
    timm is told that there never was one; then it loads strictly.
    """
    file = one_safe_file(path)
    known = library.get_pretrained_cfg(architecture, allow_unregistered=True)
    named = getattr(known, "classifier", None) or ()
    heads = {*CLASSIFIERS, *((named,) if isinstance(named, str) else named)}
    state = {key: value for key, value in load_state(file).items() if key.rpartition(".")[0] not in heads}
    overlay = settings | {"state_dict": state, "source": "", "num_classes": 0, "label_offset": 0}
    try:
        network = library.create_model(architecture, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay)
    except (RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{str(file)!r} does not fit timm model {architecture!r} ({reason}). "
            "Give the architecture that these weights were saved from."
        ) from error
    network.pretrained_cfg.pop("state_dict")  # it would keep a second copy of the weights
    return network
