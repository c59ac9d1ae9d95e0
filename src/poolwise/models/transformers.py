"""Models of the transformers library: `transformers:MODEL or FOLDER`, for texts and for images.

Texts: the mean of the last hidden states over the tokens that are no padding (Reimers & Gurevych,
"Sentence-BERT", EMNLP 2019, section 3). Images: the last state of the class token where the model
has one, else the mean over places. Image-text models: their joint space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from poolwise.errors import InputError, OptionError
from poolwise.models.backbone import EmbeddedContent, digest_of
from poolwise.models.weights import files_digest, find_model, hub_folder, load_state, pick_device, require
from poolwise.registry import backbone

EXAMPLE = "transformers:facebook/dinov2-small"
MAX_TOKENS = 512


@backbone("transformers")
def transformers(
    model: str,
    *,
    content: EmbeddedContent = "text",
    weights: str | Path | None = None,
    device: str = "auto",
) -> Transformers:
    """Open a model with its tokenizer or image processor; code of the model's author is never run.

    Parameters
    ----------
    model : owner/name on the hub, or a folder written by `save_pretrained`
    content : chooses the tower of an image-text model
    weights : folder like that, or a .safetensors file for the settings of `model`
    device : see `pick_device`

    Raises
    ------
    MissingExtraError
        If transformers is not installed.
    InputError
        If the folder is incomplete, or its weights are no safetensors.
    DownloadError
        If the model cannot be fetched.
    """
    library = require("transformers", "the backbone 'transformers'")
    if not model and weights is None:
        raise OptionError(f"backbone 'transformers' needs a model, such as {EXAMPLE}.")
    named = find_model(model, weights)
    file = named if named is not None and named.is_file() else None
    folder = named if named is not None and named.is_dir() else find_model(model, None) or hub_folder(model)
    try:
        network = _network(library, folder, file)
        reader = (
            library.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            if content == "text"
            else library.AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0][:300]
        raise InputError(
            f"{str(folder)!r} is not a complete {content} model ({reason}). "
            "Expected config.json, model.safetensors and the tokenizer or image processor."
        ) from error
    if content == "text" and reader.pad_token is None:  # models that continue texts know no padding
        reader.pad_token = reader.eos_token
    return Transformers(
        name=f"transformers:{model or folder.name}",
        content=content,
        network=network.eval().float().to(pick_device(device)),
        reader=reader,
        width=_width(network, content),
        digest=digest_of(
            {"content": content, "weights": files_digest(folder), "file": files_digest(file) if file else ""}
        ),
    )


@dataclass(frozen=True)
class Transformers:
    """A network and what turns texts or images into its input."""

    name: str
    content: EmbeddedContent
    network: Any
    reader: Any
    width: int
    digest: str
    at_least: int | None = None

    def prepare(self, content: Any) -> Any:
        """Leave texts as they are (they are tokenized together); turn an image into (3, H, W)."""
        if isinstance(content, Image.Image):
            return self.reader(images=content, return_tensors="pt")["pixel_values"][0]
        return content

    def embed(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        """Embed n texts or images: (n, D) float32; one forward pass."""
        torch = require("torch", "the backbone 'transformers'")
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            vectors = self._texts(prepared, device) if self.content == "text" else self._images(prepared, device)
        return np.asarray(vectors.float().cpu().numpy())

    def _texts(self, texts: Sequence[str], device: Any) -> Any:
        longest = min(MAX_TOKENS, self.reader.model_max_length, _positions(self.network))
        batch = self.reader(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        batch = batch.to(device)
        if hasattr(self.network, "get_text_features"):
            return _tensor(self.network.get_text_features(**batch))
        hidden = self.network(**batch).last_hidden_state  # (n, T, D)
        mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)  # (n, T, 1)
        return (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)

    def _images(self, tensors: Sequence[Any], device: Any) -> Any:
        torch = require("torch", "the backbone 'transformers'")
        pixels = torch.stack(list(tensors)).to(device)  # (n, 3, H, W)
        if hasattr(self.network, "get_image_features"):
            return _tensor(self.network.get_image_features(pixel_values=pixels))
        output = self.network(pixel_values=pixels)
        hidden = output.last_hidden_state
        if hidden.ndim == 4:  # convolutional: (n, D, h, w)
            return hidden.mean(dim=(2, 3))
        has_class_token = any(name.endswith("cls_token") for name, _ in self.network.named_parameters())
        return hidden[:, 0] if has_class_token else hidden.mean(dim=1)


def _network(library: Any, folder: Path, file: Path | None) -> Any:
    safely = {"local_files_only": True, "trust_remote_code": False}
    if file is None:
        network = library.AutoModel.from_pretrained(folder, use_safetensors=True, **safely)
    else:
        config = library.AutoConfig.from_pretrained(folder, **safely)
        network = library.AutoModel.from_config(config, trust_remote_code=False)
        network.load_state_dict(load_state(file), strict=True)
    return network.get_encoder() if network.config.is_encoder_decoder else network


def _width(network: Any, content: EmbeddedContent) -> int:
    config = network.config
    if hasattr(network, "get_text_features") and hasattr(config, "projection_dim"):
        return int(config.projection_dim)
    config = getattr(config, f"{'text' if content == 'text' else 'vision'}_config", config)
    size = getattr(config, "hidden_size", None) or config.hidden_sizes[-1]
    return int(size)


def _positions(network: Any) -> int:
    config = getattr(network.config, "text_config", network.config)
    return int(getattr(config, "max_position_embeddings", MAX_TOKENS) or MAX_TOKENS)


def _tensor(features: Any) -> Any:
    """Take the vectors out of what image-text models return; older releases return them bare."""
    return getattr(features, "pooler_output", features)
