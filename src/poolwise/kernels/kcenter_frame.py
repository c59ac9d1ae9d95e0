"""Coordinates in which k-center computes float32 distances: origin and scale of the pool, and its leading directions.

Moving the rows near the origin costs no distance and saves digits. The directions give a bound that is cheap: with
P = (x - origin) V for orthonormal V, and the residual length rho,

    |x - c|^2  >=  |P_x - P_c|^2 + (rho_x - rho_c)^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from poolwise.kernels.blocks import as_key, check_block, read_rows
from poolwise.kernels.distances import sq_norms
from poolwise.types import Array, FloatArray, IndexArray, Rows

SKETCH_DIM = 64
"""Directions of the low-dimensional bound (scalable selection, section 2.1)."""

MIN_CENTRES = 256
"""With fewer labeled and picked rows the bound costs more than it saves."""

SAMPLE = 3072
"""Rows from which the frame is chosen."""

SMALL_SAMPLE = 64
"""The same where no basis is wanted."""

CHUNK = 1024
"""Largest window, and rows brought up to date together."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Coordinates in which distances are computed: a common origin and scale, and leading directions.

    origin : (D,) about the mean of the pool, or 0 where rows are best left as they are; float64 where rows do not
        fit float32 exactly, else float32
    scale : a power of two that keeps squares in range
    basis : (D, k) float32 orthonormal, or None where the bound would not pay
    """

    origin: FloatArray
    scale: float
    basis: FloatArray | None

    @property
    def moves(self) -> bool:
        """Whether rows change when they are placed."""
        return self.scale != 1.0 or bool(self.origin.any())

    def place(self, block: Array, out: FloatArray | None = None) -> FloatArray:
        """Move (n, D) stored rows, in the dtype of the origin, into the frame: (n, D) float32; may be `block`."""
        if self.origin.dtype == np.float64:
            with np.errstate(over="ignore"):  # found by whoever computes the length
                x = ((block - self.origin) * self.scale).astype(np.float32)
            if out is None:
                return x
            out[:] = x
            return out
        if out is None and not self.moves:
            return block
        x = np.subtract(block, self.origin, out=out)
        if self.scale != 1.0:
            x *= np.float32(self.scale)
        return x

    def sketch(self, x: FloatArray, sq_norm: FloatArray) -> FloatArray:
        """Project placed rows: (n, k + 1) float32, the last column is the length of the residual."""
        assert self.basis is not None
        out = np.empty((len(x), self.basis.shape[1] + 1), dtype=np.float32)
        out[:, :-1] = x @ self.basis
        rest = sq_norm - sq_norms(out[:, :-1])
        weak = np.flatnonzero(rest < 0.01 * sq_norm)  # too little is left of the difference: compute the residual
        for start in range(0, len(weak), CHUNK):
            at = weak[start : start + CHUNK]
            rest[at] = sq_norms(x[at] - out[at, :-1] @ self.basis.T)
        out[:, -1] = np.sqrt(rest)
        return out


def _exact_dtype(rows: Rows) -> DTypeLike:
    """float32 where it holds the stored values exactly, else float64."""
    return np.float32 if np.can_cast(rows.dtype, np.float32) else np.float64


def fit_frame(rows: Rows, indices: IndexArray, n_centres: int) -> Frame:
    """Choose origin, scale and basis from at most `SAMPLE` evenly spaced rows; any choice gives the same picks.

    For fewer than `MIN_CENTRES` centres a basis costs more than it saves, and so does moving rows whose mean is not
    far from 0.

    Raises
    ------
    InputError
        If one of these rows holds NaN or inf.
    """
    wants_basis = n_centres >= MIN_CENTRES and rows.shape[1] >= 2 * SKETCH_DIM
    count = min(SAMPLE if wants_basis else SMALL_SAMPLE, len(indices))
    sample = indices[np.linspace(0, len(indices) - 1, count).astype(np.int64)]  # count <= U: no repeats
    with np.errstate(over="ignore", invalid="ignore"):
        x = read_rows(rows, as_key(sample), np.float64)
        length = sq_norms(x - x.mean(axis=0))
        if not np.isfinite(length).all():
            check_block("embeddings", x.astype(np.float32), sample)
    usual = int(0.9 * (count - 1))
    near = length <= np.partition(length, usual)[usual]  # a few far rows must not pull the origin away from all others
    mean = x[near].mean(axis=0)
    origin = mean.astype(_exact_dtype(rows))
    if not wants_basis and origin.dtype == np.float32 and mean @ mean <= length[near].mean():
        origin[:] = 0
    x = x - origin  # not in place: these may be the user's own rows
    largest = float(np.abs(x).max(initial=0.0))
    exponent = float(np.ceil(np.log2(largest))) if largest > 0 else 0.0
    most = 126 if origin.dtype == np.float32 else 1000
    scale = 1.0 if abs(exponent) <= 20 else float(2.0 ** np.clip(-exponent, -most, most))
    x = (x * scale).astype(np.float32)
    basis = None
    if wants_basis and len(x) >= 4 * SKETCH_DIM:
        basis = _leading_directions(x, SKETCH_DIM)
        if not _prunes(x, basis):
            basis = None
    return Frame(origin, scale, basis)


def _leading_directions(x: FloatArray, k: int) -> FloatArray:
    """Find k orthonormal directions of most variance by three rounds of subspace iteration."""
    basis = np.random.Generator(np.random.Philox(0)).standard_normal((x.shape[1], k), dtype=np.float32)
    for _ in range(3):
        basis = np.linalg.qr(x.T @ (x @ basis))[0]
    return np.linalg.qr(basis.astype(np.float64))[0].astype(np.float32)


def _prunes(x: FloatArray, basis: FloatArray) -> bool:
    """Try the bound on up to 1024 sampled rows against 64 others: does it rule out most pairs?"""
    frame = Frame(np.zeros(x.shape[1], dtype=np.float32), 1.0, basis)
    spread = x[np.linspace(0, len(x) - 1, min(len(x), 1024)).astype(np.int64)]
    n = sq_norms(spread)
    q = frame.sketch(spread, n)
    centres, rest = slice(0, 128, 2), slice(1, None)
    full = n[rest, None] + n[centres] - 2 * spread[rest] @ spread[centres].T
    bound = sq_norms(q)[rest, None] + sq_norms(q)[centres] - 2 * q[rest] @ q[centres].T
    value = np.partition(full, 1, axis=1)[:, 1]  # the second smallest: a row may itself be a centre
    return bool(np.mean(bound < value[:, None]) < 0.5)
