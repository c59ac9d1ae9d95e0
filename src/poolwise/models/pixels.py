"""Pixels: small copies of the images, reduced by principal components. Needs no network and no torch.

Source: Turk & Pentland, "Eigenfaces for Recognition", Journal of Cognitive Neuroscience 3(1), 1991;
components by the randomised range finder of Halko, Martinsson & Tropp, SIAM Review 53(2), 2011,
algorithms 4.4 and 5.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from poolwise.errors import OptionError
from poolwise.models.backbone import EmbeddedContent, digest_of, refuse_weights
from poolwise.registry import backbone
from poolwise.types import Array

DEFAULT_SIDE = 32
MAX_WIDTH = 128


@backbone("pixels")
def pixels(
    model: str = "", *, content: EmbeddedContent = "image", weights: str | Path | None = None, device: str = "cpu"
) -> Pixels:
    """Open the pixel embedder; `pixels:SIDE` sets the side of the small copies, default 32.

    Raises
    ------
    OptionError
        If SIDE is no whole number from 4 to 128.
    """
    refuse_weights("pixels", weights)
    side = int(model) if model.isdecimal() else DEFAULT_SIDE if model == "" else 0
    if not 4 <= side <= 128:
        raise OptionError(f"backbone 'pixels:{model}' must name a side from 4 to 128 pixels, such as pixels:32.")
    return Pixels(side)


@dataclass(frozen=True)
class Pixels:
    """Small RGB copy, minus the mean, divided by one scale, times at most 128 principal components.

    parameters : mean (P,), components (D, P), scale () with P = 3 side^2; empty before `fit`
    """

    side: int = DEFAULT_SIDE
    parameters: Mapping[str, Array] | None = None
    content: EmbeddedContent = "image"
    fit_rows: int = 5000

    @property
    def name(self) -> str:
        """Name with the side."""
        return f"pixels:{self.side}"

    @property
    def at_least(self) -> int:
        """Twice the side: JPEG may decode small, resizing does the rest."""
        return 2 * self.side

    @property
    def width(self) -> int:
        """D, at most 128."""
        return len(self._fitted()["components"])

    @property
    def digest(self) -> str:
        """Digest of the side and the parameters."""
        return digest_of({"name": self.name, "version": 1}, self._fitted())

    def prepare(self, content: Image.Image) -> Array:
        """Shrink an RGB image, with area averaging, to (P,) uint8."""
        return np.asarray(content.resize((self.side, self.side), Image.Resampling.BILINEAR)).reshape(-1)

    def fit(self, prepared: Sequence[Array], rng: np.random.Generator) -> Pixels:
        """Learn mean, scale and components from n images.

        Notes
        -----
        One BLAS thread, so that the answer does not depend on their number; time O(n P D).
        """
        x = np.stack(prepared).astype(np.float32) / 255  # (n, P)
        mean = x.mean(axis=0)
        x -= mean
        scale = np.float32(max(float(np.sqrt(np.mean(x * x))) * np.sqrt(x.shape[1]), 1e-6))
        width = min(MAX_WIDTH, *x.shape)
        with threadpool_limits(1):
            _, _, components = randomized_svd(x, width, n_iter=4, random_state=int(rng.integers(2**31)))
        return self.restored({"mean": mean, "scale": np.asarray(scale), "components": components.astype(np.float32)})

    def restored(self, parameters: Mapping[str, Array]) -> Pixels:
        """Return a copy with these parameters."""
        return replace(self, parameters=dict(parameters))

    def embed(self, prepared: Sequence[Array]) -> NDArray[np.float32]:
        """Project n small copies: (n, D) float32; over the pool their mean squared length is near 1."""
        known = self._fitted()
        x = (np.stack(prepared).astype(np.float32) / 255 - known["mean"]) / known["scale"]  # (n, P)
        with threadpool_limits(1):
            return np.asarray(x @ known["components"].T, dtype=np.float32)  # (n, D)

    def _fitted(self) -> Mapping[str, Any]:
        assert self.parameters is not None, "fit it, or restore its parameters, first"
        return self.parameters
