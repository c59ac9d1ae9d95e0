"""How outputs move when the last layer's weights get noise: sampled movements, and their exact covariance.

Source: Li, Yang, Gu, Zhan, Wang, Xu & Xu, "Deep Active Learning with Noise Stability", AAAI 2024 (arXiv:2205.13340).
To first order the probabilities of a linear head move by A_i E h_i with A_i = diag(p_i) - p_i p_i' under weight noise
E. For E uniform on a sphere of radius zeta |W|, the mean inner product of the movements of items i and j, each divided
by the length of its output, is

    k_ij = zeta^2 |W|^2 / (C D) <h_i, h_j> tr(A_i A_j) / (|p_i| |p_j|),

the limit of infinitely many perturbations, computed from the factors alone. The closed form is poolwise's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from poolwise.kernels.blocks import LinearLogits, Softmax, as_key, read_rows, softmax_in_place
from poolwise.kernels.distances import sq_norms
from poolwise.kernels.implicit import FarthestFirst, pick_lazily
from poolwise.progress import task
from poolwise.types import Array, FloatArray, IndexArray, Rows

Output = Literal["probs", "logits"]

SMALLEST_NORM = 1e-12
"""Outputs shorter than this count as so long."""

PASS_ROWS = 256, 16384
"""Fewest and most rows read together."""


@dataclass(frozen=True, slots=True)
class LinearPoints:
    """Rows held as they are: x (n, D) float64."""

    x: FloatArray
    sq: FloatArray

    def __len__(self) -> int:
        return len(self.x)

    def at(self, key: IndexArray) -> LinearPoints:
        return LinearPoints(self.x[key], self.sq[key])

    def inner(self, other: LinearPoints) -> FloatArray:
        return np.asarray(self.x @ other.x.T)

    def joined(self, others: Sequence[LinearPoints]) -> LinearPoints:
        parts = [self, *others]
        return LinearPoints(np.concatenate([p.x for p in parts]), np.concatenate([p.sq for p in parts]))


@dataclass(frozen=True, slots=True)
class MovementPoints:
    """Movements A_i (x) h_i in factors.

    tr(A_i A_j) = sum_c a_ic a_jc + sum_{c != d} p_ic p_id p_jc p_jd with a = p (1 - p). The second sum is taken apart
    at the largest probability t of item i, so that nothing cancels when both items are certain:
    2 p_it p_jt r + r^2 - s, r = sum_{c != t} p_ic p_jc, s = sum_{c != t} p_ic^2 p_jc^2.

    h : (n, D) scaled so that lengths come out right; p, rest, a : (n, C), rest is p without its largest entry
    """

    h: FloatArray
    p: FloatArray
    rest: FloatArray
    a: FloatArray
    top: IndexArray
    sq: FloatArray

    def __len__(self) -> int:
        return len(self.h)

    def at(self, key: IndexArray) -> MovementPoints:
        return MovementPoints(self.h[key], self.p[key], self.rest[key], self.a[key], self.top[key], self.sq[key])

    def inner(self, other: MovementPoints) -> FloatArray:
        out = self.rest @ other.p.T  # (n, m)
        largest = self.p[np.arange(len(self)), self.top][:, None] * other.p.T[self.top]
        out *= out + 2 * largest
        out -= np.square(self.rest) @ np.square(other.p).T
        out += self.a @ other.a.T
        out *= self.h @ other.h.T
        return np.asarray(out)

    def joined(self, others: Sequence[MovementPoints]) -> MovementPoints:
        parts = [self, *others]
        return MovementPoints(
            *(np.concatenate([getattr(p, name) for p in parts]) for name in ("h", "p", "rest", "a", "top", "sq"))
        )


def movement_points(h: FloatArray, p: FloatArray, scale: float) -> MovementPoints:
    """Prepare (n, D) float64 features and (n, C) float64 probabilities; `scale` is zeta |W| / sqrt(C D)."""
    p = p / np.maximum(p.sum(axis=1, keepdims=True), SMALLEST_NORM)
    row, top = np.arange(len(p)), p.argmax(axis=1)
    rest = p.copy()
    rest[row, top] = 0
    a = p * (1 - p)
    a[row, top] = p[row, top] * rest.sum(axis=1)  # 1 - p without loss of digits
    h = h * (scale / np.maximum(np.sqrt(sq_norms(p)), SMALLEST_NORM))[:, None]
    inner_rest, largest = np.einsum("ij,ij->i", rest, p), np.square(p[row, top])
    trace = inner_rest * (inner_rest + 2 * largest) - sq_norms(np.square(rest)) + sq_norms(a)
    return MovementPoints(h, p, rest, a, top, np.maximum(trace, 0) * sq_norms(h))


class _Outputs:
    """Reads features and outputs of some pool rows, once where outputs are computed from those very features."""

    def __init__(self, embeddings: Rows, outputs: Rows, indices: IndexArray) -> None:
        self.embeddings, self.outputs, self.indices = embeddings, outputs, indices
        self.n_features, self.n_classes = int(embeddings.shape[1]), int(outputs.shape[1])

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, positions: IndexArray) -> tuple[FloatArray, FloatArray]:
        key = as_key(self.indices[positions])
        h = read_rows(self.embeddings, key, np.float64)
        rows = self.outputs
        logits = rows.logits if isinstance(rows, Softmax) else rows
        if isinstance(logits, LinearLogits) and logits.embeddings is self.embeddings:
            z = logits.of(h)
            return h, softmax_in_place(z) if isinstance(rows, Softmax) else z
        return h, read_rows(rows, key, np.float64)


class ExactMovements:
    """The movements under infinitely many perturbations: inner products are k_ij, nothing is sampled.

    Parameters
    ----------
    embeddings, outputs : (N, D) features; (N, C) probabilities, or logits for output="logits"
    indices : (n,) int64 sorted pool indices
    radius : zeta |W|
    output : for "logits", k_ij = radius^2 / D <h_i, h_j> / (|z_i| |z_j|)
    """

    def __init__(
        self, embeddings: Rows, outputs: Rows, indices: IndexArray, radius: float, output: Output = "probs"
    ) -> None:
        self._read = _Outputs(embeddings, outputs, indices)
        self.radius, self.output = radius, output
        self.row_bytes = 8 * (self._read.n_features + (3 * self._read.n_classes if output == "probs" else 0))

    def __len__(self) -> int:
        return len(self._read)

    def take(self, positions: IndexArray) -> MovementPoints | LinearPoints:
        """Read some rows."""
        h, out = self._read.read(positions)
        if self.output == "logits":
            x = h * (self.radius / np.sqrt(h.shape[1]) / np.maximum(np.sqrt(sq_norms(out)), SMALLEST_NORM))[:, None]
            return LinearPoints(x, sq_norms(x))
        return movement_points(h, out, self.radius / np.sqrt(h.shape[1] * out.shape[1]))


class SampledMovements:
    """The movements under K given perturbations, K C numbers a row, built for a few rows at a time.

    Rows are divided by sqrt(K), so that lengths do not grow with K.

    Parameters
    ----------
    noise : (K, C, D) float64 changes of the weights, the same for all items
    antithetic : half the difference of the movements under +E and -E, which cancels the second order
    """

    def __init__(
        self,
        embeddings: Rows,
        outputs: Rows,
        indices: IndexArray,
        noise: Array,
        output: Output = "probs",
        *,
        antithetic: bool = False,
    ) -> None:
        self._read = _Outputs(embeddings, outputs, indices)
        self.output, self.antithetic = output, antithetic
        self.n_samples = len(noise)
        self._noise = np.ascontiguousarray(noise.reshape(-1, noise.shape[2]).T)  # (D, K C)
        self.row_bytes = max(16 * self._noise.shape[1], 4 * self._read.n_features)

    def __len__(self) -> int:
        return len(self._read)

    def take(self, positions: IndexArray) -> LinearPoints:
        """Read some rows."""
        h, out = self._read.read(positions)
        moved = self.movements(h, out).reshape(len(h), -1) / np.sqrt(self.n_samples)
        return LinearPoints(moved, sq_norms(moved))

    def movements(self, h: FloatArray, out: FloatArray) -> FloatArray:
        """Compute (n, K, C) movements of the outputs, divided by the outputs' lengths."""
        t = (h @ self._noise).reshape(len(h), self.n_samples, -1)  # (n, K, C) change of the logits
        if self.output == "probs":
            out = out / np.maximum(out.sum(axis=1, keepdims=True), SMALLEST_NORM)
            t = (moved(out, t) - moved(out, -t)) / 2 if self.antithetic else moved(out, t)
        t /= np.maximum(np.sqrt(sq_norms(out)), SMALLEST_NORM)[:, None, None]
        return np.asarray(t)


class MeasuredMovements:
    """Movements that were measured: K Q numbers a row over the root of K, read when they are needed.

    Parameters
    ----------
    deviations : (N, K, Q) movements of Q outputs under K perturbations
    indices : (n,) int64 sorted pool indices
    """

    def __init__(self, deviations: Rows, indices: IndexArray) -> None:
        self.deviations, self.indices = deviations, indices
        self.row_bytes = 8 * int(np.prod(deviations.shape[1:]))

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, positions: IndexArray) -> LinearPoints:
        """Read some rows."""
        d = read_rows(self.deviations, as_key(self.indices[positions]), np.float64)
        x: FloatArray = d.reshape(len(d), -1) / np.sqrt(d.shape[1])
        return LinearPoints(x, sq_norms(x))


Movements = ExactMovements | SampledMovements | MeasuredMovements


def moved(p: FloatArray, t: FloatArray) -> FloatArray:
    """softmax(z + t) - softmax(z) for p = softmax(z), without subtracting nearly equal numbers: p expm1(t - shift).

    The shift is log sum p exp(t), by log1p where t is small.
    """
    p = p[:, None, :]
    largest = t.max(axis=2, keepdims=True)
    total = (p * np.exp(t - largest)).sum(axis=2, keepdims=True)
    shift = largest + np.log(np.maximum(total, np.finfo(np.float64).tiny))
    small = np.abs(t).max(axis=2, keepdims=True) < 0.5
    gain = (p * np.expm1(np.where(small, t, 0.0))).sum(axis=2, keepdims=True)
    shift = np.where(small, np.log1p(gain), shift)
    return np.asarray(p * np.expm1(np.minimum(t - shift, 700)))


def draw_noise(head_weight: Array, zeta: float, count: int, rng: np.random.Generator) -> FloatArray:
    """Draw `count` changes of the weights, (K, C, D) float64, each of length zeta |W| exactly."""
    weight = np.asarray(head_weight, dtype=np.float64)
    noise = rng.standard_normal((count, *weight.shape))
    length = np.sqrt(np.square(noise).sum(axis=(1, 2), keepdims=True))
    noise *= zeta * np.sqrt(np.square(weight).sum()) / length
    return noise


def farthest_movements(
    movements: Movements, taken: Movements | None, count: int
) -> tuple[IndexArray, FloatArray, FloatArray]:
    """Repeatedly take the row whose movement is farthest from no movement and from all taken.

    Parameters
    ----------
    movements : of the n rows to choose from
    taken : of rows that count as taken from the start
    count : 1 <= count <= n

    Returns
    -------
    (count,) int64 positions in order of choice; (count,) float64 distance of each to the nearest movement taken before
    or to none, never increasing; (count,) float64 lengths of their movements.
    """
    rule: FarthestFirst[Any] = FarthestFirst()
    if taken is not None and len(taken):
        rule.add(taken.take(np.arange(len(taken))))
    sq = _sq_lengths(movements)
    pos, values = pick_lazily(movements, rule, sq.copy(), count)
    return pos, np.sqrt(values), np.sqrt(sq[pos])


def _sq_lengths(movements: Movements) -> FloatArray:
    """Squared lengths (n,) float64 of all rows, in one pass."""
    out = np.empty(len(movements))
    step = int(np.clip(2**22 // movements.row_bytes, *PASS_ROWS))
    with task("measuring movements", len(out)) as work:
        for start in range(0, len(out), step):
            positions = np.arange(start, min(start + step, len(out)))
            out[positions] = movements.take(positions).sq
            work.advance(len(positions))
    return out
