"""Gaussian posterior of the last layer around its trained weights, from labeled rows alone (Laplace).

Source: MacKay, "The Evidence Framework Applied to Classification Networks", Neural Computation 4, 1992; Daxberger et
al., "Laplace Redux", NeurIPS 2021, section 2 (last layer, prior precision by evidence). Mean-field probabilities: Lu,
Ie & Sha, arXiv:2006.07584.
Differs from the papers: "shared" uses one curvature sum_i p (1 - p) h h' for all classes, with p the largest
probability of a row; "class" one for each class; "full" is the exact generalised Gauss-Newton matrix, for tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from poolwise.errors import OptionError, ShapeError
from poolwise.kernels.blocks import Key, read_rows, softmax_in_place
from poolwise.types import Array, FloatArray, Rows

Curvature = Literal["shared", "class", "full"]
Square = NDArray[np.float64]

PRECISIONS = 10.0 ** np.arange(-2, 4.5, 0.5)
"""Prior precisions tried, for rows of mean squared length 1 around their mean."""

MAX_NUMBERS = 2**27
"""Largest curvature that is built, in numbers: 200 classes of width 800."""


@dataclass(frozen=True, slots=True, eq=False)
class Laplace:
    """A posterior over the weights and biases of a linear head.

    head_weight, head_bias : (C, D), (C,) float64, its mean
    mean, scale : rows h enter as ((h - mean) / scale, 1)
    curvature : which form
    covariance : (D + 1, D + 1) for "shared", (C, D + 1, D + 1) for "class", (C (D + 1), C (D + 1)) for "full"
    precision : of the prior
    evidence : log evidence of each precision tried, up to a constant
    """

    head_weight: Square
    head_bias: Square
    mean: Square
    scale: float
    curvature: Curvature
    covariance: Square
    precision: float
    evidence: dict[float, float]

    def inputs(self, x: FloatArray) -> Square:
        """Rows as the posterior sees them, (n, D + 1)."""
        moved = (np.asarray(x, dtype=np.float64) - self.mean) / self.scale
        return np.hstack([moved, np.ones((len(moved), 1))])

    def variances(self, x: FloatArray) -> Square:
        """Variance of each logit of (n, D) rows, (n, C)."""
        h, n_classes = self.inputs(x), len(self.head_bias)
        if self.curvature == "shared":
            return np.repeat(np.einsum("ni,ij,nj->n", h, self.covariance, h, optimize=True)[:, None], n_classes, axis=1)
        if self.curvature == "class":
            return np.stack([np.einsum("ni,ij,nj->n", h, a, h, optimize=True) for a in self.covariance], axis=1)
        width = h.shape[1]
        blocks = self.covariance.reshape(n_classes, width, n_classes, width)
        return np.stack([np.einsum("ni,ij,nj->n", h, blocks[c, :, c], h) for c in range(n_classes)], axis=1)

    def mean_field(self, x: FloatArray) -> Square:
        """Probabilities (n, C) with each logit divided by sqrt(1 + pi / 8 variance)."""
        z = np.asarray(x, dtype=np.float64) @ self.head_weight.T + self.head_bias
        return np.asarray(softmax_in_place(z / np.sqrt(1 + np.pi / 8 * self.variances(x))))

    def samples(self, count: int, rng: np.random.Generator) -> tuple[Square, Square]:
        """Draw heads: weights (S, C, D) and biases (S, C) for raw rows, one head for all rows."""
        n_classes, width = self.head_weight.shape[0], self.head_weight.shape[1] + 1
        noise = rng.standard_normal((count, n_classes, width))
        if self.curvature == "full":
            noise = (noise.reshape(count, -1) @ _root(self.covariance).T).reshape(count, n_classes, width)
        elif self.curvature == "shared":
            noise = noise @ _root(self.covariance).T
        else:
            noise = np.stack([noise[:, c] @ _root(a).T for c, a in enumerate(self.covariance)], axis=1)
        weight = noise[..., :-1] / self.scale
        return self.head_weight + weight, self.head_bias + noise[..., -1] - weight @ self.mean

    def prob_samples(self, embeddings: Rows, count: int, rng: np.random.Generator) -> SampledProbs:
        """Rows (N, S, C) of probabilities under `count` drawn heads, computed when they are read."""
        return SampledProbs(embeddings, *self.samples(count, rng))


class SampledProbs:
    """(N, S, C) probabilities of embeddings under S heads, computed when they are read; heads are shared by all rows.

    Parameters
    ----------
    embeddings : (N, D)
    weights, biases : (S, C, D), (S, C)
    """

    def __init__(self, embeddings: Rows, weights: Array, biases: Array) -> None:
        self.embeddings = embeddings
        self.weights = weights.reshape(-1, weights.shape[2]).T  # (D, S C)
        self.biases = biases.ravel()
        self.shape = (len(embeddings), *biases.shape)
        self.dtype = np.dtype(np.float64)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, key: Key) -> Array:
        return self.read(key, self.dtype)

    def read(self, key: Key, dtype: DTypeLike) -> Array:
        """Compute some rows in float64 and return them as `dtype`."""
        z = read_rows(self.embeddings, key, np.float64) @ self.weights + self.biases
        p = softmax_in_place(z.reshape(-1, self.shape[2]))
        return np.asarray(p.reshape(-1, *self.shape[1:]).astype(dtype, copy=False))

    @property
    def heads(self) -> tuple[Array, Array]:
        """The weights and biases that it was made from."""
        _, count, n_classes = self.shape
        return self.weights.T.reshape(count, n_classes, -1), self.biases.reshape(count, n_classes)


def fit_posterior(
    x: FloatArray,
    head_weight: Array,
    head_bias: Array | None,
    *,
    curvature: Curvature = "shared",
    precision: float | None = None,
) -> Laplace:
    """Fit a Gaussian around a trained linear head.

    Parameters
    ----------
    x : (L, D) labeled rows; their labels are not needed. Without rows the prior is the posterior
    head_weight, head_bias : (C, D), (C,) or None
    curvature : see the module
    precision : of the prior, > 0, for rows of mean squared length 1 around their mean; default by log evidence

    Returns
    -------
    Laplace.

    Raises
    ------
    ShapeError
        If rows and head do not fit together.
    OptionError
        If the precision is not above 0, or the curvature would be too large.

    Notes
    -----
    Time L D^2 + D^3 for "shared", C times that for "class". Memory as the covariance.
    """
    weight = np.asarray(head_weight, dtype=np.float64)
    bias = np.zeros(len(weight)) if head_bias is None else np.asarray(head_bias, dtype=np.float64)
    rows = np.asarray(x, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != weight.shape[1] or len(bias) != len(weight):
        raise ShapeError(
            f"rows have shape {rows.shape}, head_weight {weight.shape} and head_bias {bias.shape}; "
            "expected (L, D), (C, D) and (C,). Pass the head of these rows."
        )
    if precision is not None and not precision > 0:
        raise OptionError(f"precision must be above 0; got {precision}. Leave it out to choose it by evidence.")
    n_classes, width = weight.shape[0], weight.shape[1] + 1
    size = {"shared": width**2, "class": n_classes * width**2, "full": (n_classes * width) ** 2}[curvature]
    if size > MAX_NUMBERS:
        raise OptionError(
            f"curvature={curvature!r} needs {size} numbers for {n_classes} classes of width {width - 1}; "
            f"expected at most {MAX_NUMBERS}. Use curvature='shared'."
        )
    mean = rows.mean(axis=0) if len(rows) else np.zeros(width - 1)
    spread = float(np.sqrt(((rows - mean) ** 2).sum(axis=1).mean())) if len(rows) else 1.0
    scale = spread if spread > 0 else 1.0
    h = np.hstack([(rows - mean) / scale, np.ones((len(rows), 1))])
    p = softmax_in_place(rows @ weight.T + bias)
    information = _information(h, p, curvature)  # (k, m, m)
    values, vectors = np.linalg.eigh(information)
    values = np.maximum(values, 0)
    inner = weight * scale
    squares = float((inner - inner.mean(axis=0)).ravel() @ (inner - inner.mean(axis=0)).ravel())
    repeats = n_classes if curvature == "shared" else 1
    evidence = {float(t): _evidence(values, squares, float(t), repeats, n_classes * width) for t in PRECISIONS}
    chosen = max(evidence, key=lambda t: (evidence[t], t)) if precision is None and len(rows) else (precision or 1.0)
    covariance = (vectors / (values + chosen)[:, None, :]) @ vectors.transpose(0, 2, 1)
    out = covariance if curvature == "class" else covariance[0]
    return Laplace(weight, bias, mean, scale, curvature, out, chosen, evidence)


def _information(h: Square, p: Square, curvature: Curvature) -> Square:
    """Curvature of the log loss, (k, m, m)."""
    if curvature == "shared":
        top = p.max(axis=1) if len(p) else np.empty(0)
        return np.asarray((h * (top * (1 - top))[:, None]).T @ h)[None]
    if curvature == "class":
        return np.stack([(h * (p[:, c] * (1 - p[:, c]))[:, None]).T @ h for c in range(p.shape[1])])
    size = p.shape[1] * h.shape[1]
    total = np.zeros((size, size))
    for hi, pi in zip(h, p, strict=True):
        total += np.kron(np.diag(pi) - np.outer(pi, pi), np.outer(hi, hi))
    return total[None]


def _evidence(values: Square, squares: float, precision: float, repeats: int, n_weights: int) -> float:
    """Log evidence up to a constant: prior at the weights, and the volume of the posterior."""
    volume = repeats * float(np.log(values + precision).sum())
    return 0.5 * (n_weights * float(np.log(precision)) - precision * squares - volume)


def _root(covariance: Any) -> Square:
    """A matrix R with R R' = covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))
