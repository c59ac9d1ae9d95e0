"""Small torch heads on cached embeddings: what dropout, ensembles and SWAG vary on a laptop.

Embeddings are centred and divided by one number, so that a column has about unit size. Heads are networks of doubles,
so their numbers do not depend on how many rows are computed together, nor on the number of cores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from poolwise.chance import rng_for
from poolwise.errors import OptionError
from poolwise.kernels.blocks import Computed, finish_block
from poolwise.models.weights import require
from poolwise.train.linear_probe import check_rows
from poolwise.train.networks import TrainSettings, fit_network
from poolwise.types import Array, FloatArray, IndexArray, Rows


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """What a head looks like and how it is fitted.

    hidden : units of one hidden layer with ReLU; 0 for a linear head
    dropout : rate of a dropout layer before each linear layer, 0 <= dropout < 1; 0 for none
    """

    hidden: int = 128
    dropout: float = 0.0
    training: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        if self.hidden < 0:
            raise OptionError(f"hidden must be at least 0 (0: a linear head); got {self.hidden}.")
        if not 0 <= self.dropout < 1:
            raise OptionError(f"dropout must be at least 0 and below 1; got {self.dropout}. Try 0.2.")


@dataclass(frozen=True, slots=True)
class Labeled:
    """Labeled rows as heads are fitted on them.

    mean, scale : embeddings h enter as (h - mean) / scale
    rows : (L, D) float64, entered so
    """

    mean: FloatArray
    scale: float
    rows: FloatArray
    labels: IndexArray
    n_classes: int


class Standardized(Computed):
    """(N, D) embeddings minus a mean, over a scale, computed when they are read."""

    source_name = "embeddings"

    def __init__(self, embeddings: Rows, mean: FloatArray, scale: float) -> None:
        self.source = embeddings
        self.mean, self.scale = mean, scale
        self.shape = embeddings.shape

    def finish(self, block: Array) -> Array:
        """Move and scale (n, D) rows; in float64, so that a large mean takes no digits."""
        x = finish_block(self.source, block)
        return np.asarray((x.astype(np.float64) - self.mean) / self.scale).astype(x.dtype, copy=False)


def standardize(x: Array, y: Array, n_classes: int) -> Labeled:
    """Check (L, D) embeddings with (L,) labels, and bring them to unit size.

    Raises
    ------
    InputError, ShapeError
        As `linear_probe.check_rows`.
    """
    x, labels = check_rows(x, y, n_classes)
    rows = x.astype(np.float64)
    mean = rows.mean(axis=0)
    rows -= mean
    scale = float(np.sqrt(np.square(rows).mean())) if rows.size else 0.0
    scale = scale if scale > 1e-12 * float(np.abs(mean).max(initial=0.0)) else 1.0
    return Labeled(mean, scale, rows / scale, labels, n_classes)


def make_head(width: int, n_classes: int, settings: HeadSettings, seed: int) -> Any:
    """Make an unfitted head, a torch Sequential of doubles: (n, D) rows to (n, C) logits.

    Weights and biases are uniform in +-1/sqrt(inputs), as torch begins, but drawn from poolwise's streams.
    """
    nn = require("torch", "a head that is not linear").nn
    rng = rng_for(seed, "head weights")
    layers: list[Any] = []
    widths = [width, *([settings.hidden] if settings.hidden else []), n_classes]
    for number, (n_in, n_out) in enumerate(pairwise(widths)):
        layers += [nn.ReLU()] if number else []
        layers += [nn.Dropout(settings.dropout)] if settings.dropout else []
        layers.append(_linear(nn, n_in, n_out, rng))
    return nn.Sequential(*layers)


def _linear(nn: Any, n_in: int, n_out: int, rng: np.random.Generator) -> Any:
    torch = require("torch", "a head that is not linear")
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out, dtype=torch.float64)
    bound = 1 / np.sqrt(n_in)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rng.uniform(-bound, bound, (n_out, n_in))))
        layer.bias.copy_(torch.tensor(rng.uniform(-bound, bound, n_out)))
    return layer


def fit_head(
    data: Labeled, settings: HeadSettings, *, seed: int, after_epoch: Callable[[Any], None] | None = None
) -> Any:
    """Fit a head on labeled rows; the same seed gives the same head.

    Parameters
    ----------
    after_epoch : called with the head after each pass
    """
    head = make_head(data.rows.shape[1], data.n_classes, settings, seed)
    told = None if after_epoch is None else (lambda: after_epoch(head))
    items = np.arange(len(data.labels))
    fit_network(head, data.rows, items, data.labels, seed=seed, settings=settings.training, after_epoch=told)
    return head.eval()


def head_settings(hidden: int, dropout: float, epochs: int, learning_rate: float, weight_decay: float) -> HeadSettings:
    """Settings from the options that users of heads may give."""
    training = replace(TrainSettings(), epochs=epochs, learning_rate=learning_rate, weight_decay=weight_decay)
    return HeadSettings(hidden, dropout, training)
