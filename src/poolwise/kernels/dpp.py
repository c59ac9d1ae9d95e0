"""Determinantal point processes of fixed size k: P(S) = det(L_S) / e_k(eigenvalues of L) for |S| = k.

Greedy search for the likeliest set over any kernel at any size, exact sampling, and marginals.

Source: Kulesza & Taskar, "k-DPPs: Fixed-Size Determinantal Point Processes", ICML 2011, and "Determinantal Point
Processes for Machine Learning", 2012, sections 2.4 and 5.2; Chen, Zhang & Zhou, "Fast Greedy MAP Inference for
Determinantal Point Process to Improve Recommendation Diversity", NeurIPS 2018, Algorithm 1.
Differs from the papers: Cholesky rows are kept for the items that may come first only (`implicit`), not for all N.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from poolwise.errors import InputError
from poolwise.kernels.blocks import as_key, read_rows
from poolwise.kernels.distances import sq_norms
from poolwise.kernels.implicit import PointSet, quantum
from poolwise.types import Array, FloatArray, IndexArray, Rows

NEGATIVE = 1e-8
"""Eigenvalues below minus this share of the largest make a kernel unusable; smaller ones count as 0."""
RANK = 1e-12
"""Eigenvalues below this share of the largest count as 0."""
EXHAUSTED = 1e-10
"""A residual below this share of the largest one counts as none."""


@dataclass(frozen=True, slots=True)
class KernelPoints:
    """Rows of a quality-diversity kernel L_ij = q_i K_ij q_j, K linear or Gaussian.

    x : (n, D) float64; q : (n,) float64; gamma : K = exp(-gamma |x - y|^2), or None for K = <x, y>
    """

    x: FloatArray
    q: FloatArray
    gamma: float | None
    sq: FloatArray

    def __len__(self) -> int:
        return len(self.x)

    def at(self, key: IndexArray) -> KernelPoints:
        return KernelPoints(self.x[key], self.q[key], self.gamma, self.sq[key])

    def inner(self, other: KernelPoints) -> FloatArray:
        out = self.x @ other.x.T  # (n, m)
        if self.gamma is not None:
            out *= 2
            out -= sq_norms(self.x)[:, None]
            out -= sq_norms(other.x)
            np.minimum(out, 0, out=out)
            out *= self.gamma
            np.exp(out, out=out)
        out *= self.q[:, None]
        out *= other.q
        return np.asarray(out)

    def joined(self, others: Sequence[KernelPoints]) -> KernelPoints:
        parts = [self, *others]
        x, q, sq = (np.concatenate([getattr(p, name) for p in parts]) for name in ("x", "q", "sq"))
        return KernelPoints(x, q, self.gamma, sq)


class KernelVectors:
    """The rows of a quality-diversity kernel, read when they are asked for.

    Parameters
    ----------
    rows : (N, D)
    indices : (n,) int64 sorted pool indices
    quality : (n,) float64 >= 0
    gamma : see `KernelPoints`
    count : picks to come, which decides how many rows fit into memory
    origin : (D,) subtracted from the rows of a Gaussian kernel
    """

    def __init__(
        self,
        rows: Rows,
        indices: IndexArray,
        quality: FloatArray,
        gamma: float | None,
        count: int,
        origin: FloatArray | None = None,
    ) -> None:
        self.rows, self.indices, self.quality, self.gamma = rows, indices, quality, gamma
        self.origin = origin
        self.row_bytes = 16 * (int(rows.shape[1]) + count)  # rows, Cholesky rows, and as much again to compute them

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, positions: IndexArray) -> KernelPoints:
        """Read some rows."""
        x = read_rows(self.rows, as_key(self.indices[positions]), np.float64)
        if self.origin is not None:
            x = x - self.origin
        q = self.quality[positions]
        own = np.ones(len(x)) if self.gamma is not None else sq_norms(x)
        return KernelPoints(x, q, self.gamma, np.square(q) * own)


class LargestResidual:
    """What a row would multiply det(L_S + jitter I) by: its residual after the picks.

    Parameters
    ----------
    count : most picks, given ones included
    jitter : >= 0, added to the diagonal; keeps residuals positive beyond the rank

    residuals : of the picks when they were taken, not rounded; the sum of their logarithms is the log-determinant
    """

    def __init__(self, count: int, jitter: float = 0.0) -> None:
        self.jitter = jitter
        self.picked: Any = None
        self.size = 0
        self.exhausted_at: int | None = None
        self._factor = np.zeros((count, count))  # lower Cholesky factor of the picks
        self._parts: list[Any] = []
        self.residuals: list[float] = []

    def current(self, points: PointSet) -> tuple[FloatArray, FloatArray]:
        along = np.zeros((len(points), len(self._factor)))
        t = self.size if self.exhausted_at is None else self.exhausted_at
        if t:
            if len(self._parts) > 1:
                self._parts = [self._parts[0].joined(self._parts[1:])]
            cross = self._parts[0].at(np.arange(t)).inner(points)  # (t, n)
            along[:, :t] = solve_triangular(self._factor[:t, :t], cross, lower=True, check_finite=False).T
        return self._rounded(points, points.sq + self.jitter - sq_norms(along)), along

    def after(self, points: PointSet, values: FloatArray, memory: FloatArray) -> None:
        if self.exhausted_at is not None:
            return
        t = self.size - 1
        new = points.inner(self._parts[-1])[:, 0] - memory[:, :t] @ self._factor[t, :t]
        new /= self._factor[t, t]
        memory[:, t] = new
        lowered = values - np.square(new)
        values[:] = np.where(np.isfinite(values), self._rounded(points, lowered), values)

    def add(self, point: PointSet, memory: FloatArray, at: int) -> None:
        row = memory[at, : self.size].copy()
        self.add_with(point, row, self.jitter)

    def add_with(self, point: PointSet, row: FloatArray, jitter: float) -> None:
        """Take a row as picked, by its entries (size,) of the Cholesky factor."""
        residual = float(point.sq[0]) + jitter - float(row @ row)
        self.residuals.append(max(residual, 0.0))
        if self.exhausted_at is None and residual <= EXHAUSTED * max(self.residuals):
            self.exhausted_at = self.size
        if self.exhausted_at is None:
            self._factor[self.size, : self.size] = row
            self._factor[self.size, self.size] = np.sqrt(residual)
        self._parts.append(point)
        self.size += 1

    def give(self, points: Any, jitter: float) -> None:
        """Take rows as picked beforehand, one after another, with a jitter of their own."""
        for i in range(len(points)):
            one = points.at(np.array([i]))
            self.add_with(one, self.current(one)[1][0, : self.size], jitter)

    def _rounded(self, points: PointSet, values: FloatArray) -> FloatArray:
        step = quantum(points.sq + self.jitter)
        return np.asarray(np.rint(np.maximum(values, 0) / step) * step)


def log_elementary(log_values: FloatArray, size: int) -> FloatArray:
    """Logarithms of the elementary symmetric polynomials of all prefixes, (n + 1, size + 1).

    Row n, column l holds log e_l(lambda_1 ... lambda_n), from e_l^n = e_l^(n-1) + lambda_n e_(l-1)^(n-1).
    """
    table = np.full((len(log_values) + 1, size + 1), -np.inf)
    table[:, 0] = 0
    for n, value in enumerate(log_values, start=1):
        table[n, 1:] = np.logaddexp(table[n - 1, 1:], value + table[n - 1, :-1])
    return table


def _all_but_one(log_values: FloatArray, size: int) -> FloatArray:
    """log e_size of all values but one, for each of (n,) values."""
    n = len(log_values)
    without = np.full((n, size + 1), -np.inf)
    without[:, 0] = 0
    for m in range(n):
        more = np.logaddexp(without[:, 1:], log_values[m] + without[:, :-1])
        more[m] = without[m, 1:]
        without[:, 1:] = more
    return np.asarray(without[:, -1])


class KDpp:
    """A k-DPP by the eigenvalues and eigenvectors of its kernel.

    Parameters
    ----------
    values : (r,) float64 > 0 eigenvalues; their scale is of no effect
    vectors : (n, r) orthonormal columns
    size : k, 1 <= k <= r

    Raises
    ------
    InputError
        If k is above the rank: then every set of k items has determinant 0.
    """

    def __init__(self, values: FloatArray, vectors: FloatArray, size: int) -> None:
        if not 1 <= size <= len(values):
            raise InputError(
                f"a k-DPP of size {size} needs a kernel of at least that rank; got rank {len(values)} of "
                f"{len(vectors)} items. Choose fewer items, add a jitter to the diagonal, or search greedily "
                '(mode="map" of the strategy dpp), which does.'
            )
        self.values, self.vectors, self.size = values, vectors, size
        self._log = np.log(values / np.exp(np.log(values).mean()))
        self._table = log_elementary(self._log, size)

    @property
    def log_normaliser(self) -> float:
        """log e_k of the eigenvalues."""
        return float(self._table[-1, -1] + self.size * np.log(self.values).mean())

    def sample(self, rng: np.random.Generator) -> IndexArray:
        """Draw one set: (k,) int64 positions in the order of drawing. Time O(n k^2)."""
        basis = self.vectors[:, self._choose_vectors(rng)]  # (n, k)
        left = sq_norms(basis)
        along = np.empty((len(basis), self.size))
        chosen = np.empty(self.size, dtype=np.int64)
        for t in range(self.size):
            weights = np.cumsum(np.maximum(left, 0))
            i = int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))
            i = min(i, int(np.flatnonzero(left > 0)[-1]))
            new = (basis @ basis[i] - along[:, :t] @ along[i, :t]) / np.sqrt(left[i])
            along[:, t] = new
            left -= np.square(new)
            chosen[t] = i
            left[chosen[: t + 1]] = 0
        return chosen

    def _choose_vectors(self, rng: np.random.Generator) -> IndexArray:
        left, kept = self.size, []
        for n in range(len(self.values), 0, -1):
            if left == 0:
                break
            share = np.exp(self._log[n - 1] + self._table[n - 1, left - 1] - self._table[n, left])
            if n == left or rng.random() < share:
                kept.append(n - 1)
                left -= 1
        return np.array(kept, dtype=np.int64)

    def log_probability(self, items: IndexArray) -> float:
        """Logarithm of the probability of one set of k items, -inf where its determinant is 0."""
        rows = self.vectors[items] * np.sqrt(self.values)
        sign, log_det = np.linalg.slogdet(rows @ rows.T)
        return float(log_det) - self.log_normaliser if sign > 0 else -np.inf

    def marginals(self) -> FloatArray:
        """Probability of each item to be in the set, (n,); they sum to k. Time O(r^2 k + n r)."""
        share = np.exp(self._log + _all_but_one(self._log, self.size - 1) - self._table[-1, -1])
        return np.asarray(np.square(self.vectors) @ share)

    def pair_marginals(self) -> FloatArray:
        """Probability of both items of each pair to be in the set, (n, n), `marginals` on the diagonal.

        For k >= 2 rows sum to k times their diagonal entry. Time O(r (r^2 k + n^2 r)): for small kernels.
        """
        out = np.zeros((len(self.vectors), len(self.vectors)))
        for a in range(len(self.values) if self.size >= 2 else 0):
            left, others = self.vectors[:, a], np.delete(self.vectors, a, axis=1)
            rest = np.delete(self._log, a)
            share = np.exp(self._log[a] + rest + _all_but_one(rest, self.size - 2) - self._table[-1, -1])
            out += np.outer(np.square(left), np.square(others) @ share)
            out -= np.outer(left, left) * ((others * share) @ others.T)
        np.fill_diagonal(out, self.marginals())
        return out


def k_dpp(kernel: Array, size: int) -> KDpp:
    """Decompose a dense kernel (n, n), symmetric and positive semi-definite.

    Raises
    ------
    InputError
        If the kernel is not square, finite, symmetric and positive semi-definite, or k is above its rank.
    """
    kernel = np.asarray(kernel, dtype=np.float64)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or not np.isfinite(kernel).all():
        raise InputError(f"a kernel must be square and finite; got shape {kernel.shape}. Check the features.")
    scale = float(np.abs(kernel).max(initial=0))
    if not np.allclose(kernel, kernel.T, rtol=0, atol=1e-8 * scale):
        raise InputError(
            "a kernel must be symmetric; got one that is not. Use (kernel + kernel.T) / 2 if it should be."
        )
    values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)
    if values[0] < -NEGATIVE * max(values[-1], 0.0) or values[-1] < 0:
        raise InputError(
            f"a kernel must be positive semi-definite; got the eigenvalue {values[0]:.3g} beside {values[-1]:.3g}. "
            "Use a positive definite similarity such as a Gaussian of distances."
        )
    kept = values > RANK * values[-1]
    return KDpp(values[kept], vectors[:, kept], size)


def low_rank_k_dpp(factor: Array, size: int) -> KDpp:
    """Decompose the kernel B B' of a factor B (n, r) through the r x r matrix B' B. Time O(n r^2 + r^3).

    Raises
    ------
    InputError
        If k is above the rank.
    """
    factor = np.asarray(factor, dtype=np.float64)
    values, vectors = np.linalg.eigh(factor.T @ factor)
    kept = values > RANK * max(float(values[-1]), 0.0)
    return KDpp(values[kept], factor @ vectors[:, kept] / np.sqrt(values[kept]), size)


def condition_on(factor: Array, item: int) -> FloatArray:
    """Factor (n, r) of the kernel given that an item is in the set: its row, and what lies along it, become 0."""
    row = factor[item] / np.sqrt(factor[item] @ factor[item])
    out: FloatArray = factor - np.outer(factor @ row, row)
    out[item] = 0
    return out
