"""Scores of rows through a head on a device: the logits stay there, one number a row comes back.

The same formulas as in `scores`. Float32 scores only decide which rows are looked at again: those near the cut are
scored in float64, by the code that NumPy uses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from poolwise.kernels import backend, scores
from poolwise.kernels.blocks import Computed, LinearLogits, as_key, check_block, read_rows, stored
from poolwise.kernels.device import DeviceRows, Tensor, block_rows, fetch, read_stored, stored_dtype
from poolwise.kernels.scores import Boundaries
from poolwise.types import FloatArray, IndexArray, Rows

Twin = Callable[[Tensor], Tensor]


def margin(z: Tensor) -> Tensor:
    """`scores.margin_of_logits`, (n, C) to (n,)."""
    if z.shape[1] < 2:
        return z.new_zeros(len(z))
    first, second = z.topk(2, dim=1).values.unbind(dim=1)
    return 1 - (1 - (second - first).exp()) / (z - first[:, None]).exp_().sum(dim=1)


def least_confidence(z: Tensor) -> Tensor:
    """`scores.least_confidence_of_logits`, (n, C) to (n,)."""
    total = (z - z.amax(dim=1, keepdim=True)).exp_().sum(dim=1)
    return (total - 1) / total


def entropy(z: Tensor) -> Tensor:
    """`scores.entropy_of_logits`, (n, C) to (n,)."""
    shifted = z - z.amax(dim=1, keepdim=True)
    weights = shifted.exp()
    total = weights.sum(dim=1)
    return total.log() - shifted.mul_(weights).sum(dim=1) / total


class NearestBoundary:
    """Minus `Boundaries.nearest`, (n, C) to (n,); the table of distances goes to a device when it is first used."""

    def __init__(self, boundaries: Boundaries) -> None:
        self.boundaries = boundaries
        self._tables: dict[str, tuple[Tensor, Tensor]] = {}

    def __call__(self, z: Tensor) -> Tensor:
        inverse, none = self._table(str(z.device))
        first, predicted = z.max(dim=1, keepdim=True)
        predicted = predicted[:, 0]
        distances = inverse[predicted]  # (n, C)
        distances *= first - z
        distances[none[predicted]] = np.inf
        return -distances.amin(dim=1)

    def _table(self, device: str) -> tuple[Tensor, Tensor]:
        """1 / |w_k - w_j| and where there is no boundary: a class and itself, and classes with equal weights."""
        if device not in self._tables:
            inverse = backend.torch().from_numpy(self.boundaries.inverse.astype(np.float32)).to(device)
            self._tables[device] = inverse, backend.torch().from_numpy(self.boundaries.inverse == 0).to(device)
        return self._tables[device]


TWINS: dict[Callable[..., FloatArray], Twin] = {
    scores.margin_of_logits: margin,
    scores.least_confidence_of_logits: least_confidence,
    scores.entropy_of_logits: entropy,
}


def twin_of(score: Any) -> Twin | None:
    """Find what computes a score of logits, without options, on a device."""
    if isinstance(score, functools.partial) and not score.args and not score.keywords:
        score = score.func
    return TWINS.get(score)


def twin(score: Any, rows: Mapping[str, Rows], dtype: DTypeLike) -> tuple[Twin, LinearLogits] | None:
    """Find what computes a float32 score on the device in force, and from which head; None if nothing does."""
    if backend.device() is None or np.dtype(dtype) != np.float32 or list(rows) != ["logits"]:
        return None
    logits = rows["logits"]
    found: Twin | None = getattr(score, "there", None) or twin_of(score)
    return None if found is None or not isinstance(logits, LinearLogits) else (found, logits)


def scored(there: Twin, logits: LinearLogits, indices: IndexArray) -> Iterator[tuple[int, FloatArray]]:
    """Stream (position of the first row, float32 scores) of some rows.

    Raises
    ------
    InputError
        If a row holds NaN or inf; it is named.
    """
    backend.used("scores")
    rows = logits.embeddings
    n_classes, width = len(logits.head_weight), int(rows.shape[1])
    sent = DeviceRows(
        lambda pos: read_stored(rows, indices[pos]),
        (len(indices), width),
        stored_dtype(rows) or np.dtype(np.float32),
        ahead=not isinstance(rows, Computed),
        step=block_rows(4 * max(width, n_classes)),
        hold=False,
    )
    for here, x in sent.blocks():
        z = logits.there(x)
        fine = z.isfinite().all()
        values = fetch(there(z))
        if not bool(fine):
            check_block(stored(logits, "logits")[1], read_rows(logits, as_key(indices[here])), indices[here])
        yield here.start, values
