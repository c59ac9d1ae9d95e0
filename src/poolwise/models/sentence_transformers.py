"""Models of the sentence-transformers library: `sentence-transformers:MODEL or FOLDER`.

Source: Reimers & Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", EMNLP 2019.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolwise.errors import InputError, OptionError
from poolwise.models.backbone import EmbeddedContent, digest_of
from poolwise.models.weights import PICKLES, files_digest, find_model, hub_folder, pick_device, require
from poolwise.registry import backbone

EXAMPLE = "sentence-transformers:sentence-transformers/all-MiniLM-L6-v2"


@backbone("sentence-transformers")
def sentence_transformers(
    model: str,
    *,
    content: EmbeddedContent = "text",
    weights: str | Path | None = None,
    device: str = "auto",
) -> SentenceTransformers:
    """Open a sentence-transformers model, with all its modules.

    Parameters
    ----------
    model : owner/name on the hub, or a folder written by `save`
    weights : folder like that; then nothing is downloaded
    device : see `pick_device`

    Raises
    ------
    MissingExtraError
        If sentence-transformers is not installed.
    InputError
        If the folder is incomplete, holds pickled weights, or names modules of other packages.
    DownloadError
        If the model cannot be fetched.
    """
    library = require("sentence_transformers", "the backbone 'sentence-transformers'")
    if not model and weights is None:
        raise OptionError(f"backbone 'sentence-transformers' needs a model, such as {EXAMPLE}.")
    folder = find_model(model, weights) or hub_folder(model)
    _check_modules(folder)
    try:
        network = library.SentenceTransformer(
            str(folder),
            device=pick_device(device),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0][:300]
        raise InputError(f"{str(folder)!r} is not a complete sentence-transformers model ({reason}).") from error
    return SentenceTransformers(
        name=f"sentence-transformers:{model or folder.name}",
        network=network.eval().float(),
        width=_width(network),
        digest=digest_of({"weights": files_digest(folder)}),
    )


@dataclass(frozen=True)
class SentenceTransformers:
    """A sentence-transformers model."""

    name: str
    network: Any
    width: int
    digest: str
    content: EmbeddedContent = "text"
    at_least: int | None = None

    def prepare(self, content: str) -> str:
        """Leave the text as it is; the model cuts it to its own length."""
        return content

    def embed(self, prepared: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts: (n, D) float32."""
        vectors = self.network.encode(
            list(prepared), batch_size=max(len(prepared), 1), convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)


def _width(network: Any) -> int:
    """Ask for D; the method was renamed in release 5."""
    ask = getattr(network, "get_embedding_dimension", None) or network.get_sentence_embedding_dimension
    return int(ask())


def _check_modules(folder: Path) -> None:
    """Refuse a folder that would unpickle a file or import a foreign module."""
    listing = folder / "modules.json"
    if not listing.is_file():
        raise InputError(f"{str(folder)!r} has no modules.json. Use transformers:{folder} for a plain model.")
    for module in json.loads(listing.read_text(encoding="utf-8")):
        if not str(module.get("type", "")).startswith("sentence_transformers."):
            raise InputError(
                f"{str(folder)!r} asks to run {module.get('type')!r}; only modules of the library are run."
            )
    for file in sorted(folder.rglob("*")):
        if file.suffix in PICKLES and not any(file.parent.glob("*.safetensors")):
            raise InputError(
                f"{str(file)!r} is a pickled checkpoint without a .safetensors file beside it. "
                "Save the model again with a current sentence-transformers."
            )
