"""What a backbone is, and the one door to all of them: `name` or `name:model`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from poolwise.errors import OptionError
from poolwise.registry import BACKBONES
from poolwise.types import Array

EmbeddedContent = Literal["image", "text"]


class Embedder(Protocol):
    """Turns images or texts into vectors.

    name : `backbone` or `backbone:model`
    content : what it reads
    width : D
    digest : 16 hexadecimal digits of model, transform and weights; equal digests, equal vectors
    at_least : shortest side in pixels worth decoding, or None for full size
    """

    @property
    def name(self) -> str: ...
    @property
    def content(self) -> EmbeddedContent: ...
    @property
    def width(self) -> int: ...
    @property
    def digest(self) -> str: ...
    @property
    def at_least(self) -> int | None: ...
    def prepare(self, content: Any, /) -> Any:
        """Transform one RGB PIL image or text; called from several threads at once."""

    def embed(self, prepared: Sequence[Any], /) -> NDArray[np.float32]:
        """Embed n >= 1 prepared contents: (n, D) float32."""


@runtime_checkable
class Fittable(Protocol):
    """An embedder that must first see a sample of the pool; its parameters are kept with the pool.

    fit_rows : largest useful sample
    """

    @property
    def fit_rows(self) -> int: ...
    def fit(self, prepared: Sequence[Any], rng: np.random.Generator, /) -> Embedder:
        """Return the same embedder with parameters learned from n >= 1 prepared contents."""

    def restored(self, parameters: Mapping[str, Array], /) -> Embedder:
        """Return the same embedder with parameters that an earlier one gave."""


@runtime_checkable
class Fitted(Protocol):
    """A fitted embedder; `parameters` are arrays without objects, for `numpy.savez`."""

    @property
    def parameters(self) -> Mapping[str, Array]: ...


def open_backbone(
    name: str,
    *,
    content: EmbeddedContent,
    weights: str | Path | None = None,
    device: str = "auto",
) -> Embedder | Fittable:
    """Open a backbone.

    Parameters
    ----------
    name : "pixels", "tfidf", "timm:MODEL", "transformers:MODEL or FOLDER", "sentence-transformers:...";
        split at the first colon
    content : what the pool holds
    weights : local .safetensors file or folder; default the published weights of the model
    device : "auto", "cpu", "cuda", "cuda:1", "mps"

    Returns
    -------
    An `Embedder`, or a `Fittable` that becomes one when fitted.

    Raises
    ------
    UnknownNameError
        If there is no such backbone.
    OptionError
        If it cannot read this content, or got weights that it has no use for.
    MissingExtraError
        If it needs the extra `torch`.
    """
    family, _, model = name.partition(":")
    opened = BACKBONES[family](model, content=content, weights=weights, device=device)
    if opened.content != content:
        raise OptionError(
            f"backbone {name!r} reads {opened.content}s, but the pool holds {content}s. "
            f"Try --backbone {default_backbone(content)}."
        )
    return opened  # type: ignore[no-any-return]


def default_backbone(content: EmbeddedContent) -> str:
    """Name the backbone that works offline, without torch, for this content."""
    return "pixels" if content == "image" else "tfidf"


def digest_of(settings: Mapping[str, Any], parameters: Mapping[str, Array] | None = None) -> str:
    """Hash settings (JSON) and arrays to 16 hexadecimal digits."""
    total = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for key, array in sorted((parameters or {}).items()):
        total.update(f"{key} {array.dtype.str} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


def refuse_weights(name: str, weights: str | Path | None) -> None:
    """Refuse a weights file for a backbone that learns from the pool itself."""
    if weights is not None:
        raise OptionError(f"backbone {name!r} has no weights, but weights={str(weights)!r} was given. Leave it out.")
