"""Minimise the penalised multinomial loss of several small problems at once.

One problem is: rows z (L, r) with weights, and a penalty strength. Problems share the rows and differ
in the weights (folds leave rows out by weight 0) and in the strength, so one matrix product
serves them all. The minimiser is L-BFGS in coordinates in which the Hessian at equal
probabilities is the identity; it needs about ten steps where plain L-BFGS needs a hundred.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poolwise.types import Array, IndexArray

MEMORY = 8
"""Pairs that L-BFGS remembers."""
ELEMENTS = 2**22
"""Logits held at once; more problems than fit are solved in groups."""
ABSENT = -1e4
"""Added to the logit of a class without training rows: its probability and gradient are 0."""


@dataclass(frozen=True, slots=True)
class Basis:
    """Rows in the principal axes of their own spread.

    rows : (L, r) float32, (x - mean) / scale @ axes; r <= min(L, D)
    energy : (r,) float64, sum of squares of each column of `rows`; they sum to L unless all rows are equal
    mean : (D,) float64
    scale : root of the mean squared distance to the mean; 1 if all rows are equal
    axes : (D, r) float64, orthonormal
    """

    rows: NDArray[np.float32]
    energy: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: float
    axes: NDArray[np.float64]


def principal(x: Array) -> Basis:
    """Rotate rows to their principal axes and drop axes without spread.

    A penalised fit of the rotated rows is the same fit: the penalty does not see rotations, and the
    best weights lie in the span of the rows.

    Notes
    -----
    Time O(L D min(L, D) + min(L, D)^3).
    """
    mean = x.mean(axis=0, dtype=np.float64)  # (D,)
    centred = x.astype(np.float64) - mean
    scale = float(np.sqrt(np.einsum("ld,ld->", centred, centred) / len(x)))
    if scale <= 1e-12 * float(np.sqrt(mean @ mean)):  # equal rows, up to rounding
        scale, centred = 1.0, np.zeros_like(centred)
    centred /= scale
    wide = centred.shape[0] < centred.shape[1]
    gram = centred @ centred.T if wide else centred.T @ centred
    values, vectors = np.linalg.eigh(gram)
    keep = values > 1e-10 * max(values[-1], 1e-300)
    values, vectors = values[keep][::-1], vectors[:, keep][:, ::-1]
    axes = centred.T @ (vectors / np.sqrt(values)) if wide else vectors  # (D, r)
    rows = centred @ axes  # (L, r)
    return Basis(rows.astype(np.float32), np.einsum("lr,lr->r", rows, rows), mean, scale, np.ascontiguousarray(axes))


def solve(
    basis: Basis,
    y: IndexArray,
    n_classes: int,
    weights: NDArray[np.float32],
    strengths: NDArray[np.float64],
    *,
    tolerance: float,
    max_steps: int = 200,
) -> NDArray[np.float32]:
    """Fit P heads on the same rows.

    Minimises sum_i weight_i * log loss_i + strength / 2 * ||W||^2, biases free, for each problem.

    Parameters
    ----------
    basis : rows in principal axes
    y : (L,) int64 in [0, n_classes)
    weights : (L, P) float32 >= 0; weight 0 leaves a row out
    strengths : (P,) > 0
    tolerance : stop once the squared preconditioned gradient is below tolerance * loss

    Returns
    -------
    (P, r + 1, C) float32: weights on the principal axes, last row the biases. Classes without rows
    of positive weight in a problem have zeros there.
    """
    n_rows, n_problems = weights.shape
    group = max(1, ELEMENTS // max(1, n_rows * n_classes))
    out = [
        _solve_group(basis, y, n_classes, weights[:, i : i + group], strengths[i : i + group], tolerance, max_steps)
        for i in range(0, n_problems, group)
    ]
    return np.concatenate(out)


def _solve_group(
    basis: Basis,
    y: IndexArray,
    n_classes: int,
    weights: NDArray[np.float32],
    strengths: NDArray[np.float64],
    tolerance: float,
    max_steps: int,
) -> NDArray[np.float32]:
    n_rows, n_problems = weights.shape
    counts = np.zeros((n_problems, n_classes))
    for p in range(n_problems):
        counts[p] = np.bincount(y, weights[:, p], n_classes)
    total = np.maximum(counts.sum(axis=1), 1e-12)  # (P,)
    present = counts > 0
    n_present = np.maximum(present.sum(axis=1), 1)
    share = (total / n_rows / n_present)[:, None]  # curvature of a row at equal probabilities, (P, 1)
    curvature = np.concatenate([basis.energy * share, n_rows * share], axis=1)  # (P, r + 1)
    penalty = np.concatenate([np.repeat(strengths[:, None], len(basis.energy), 1), np.zeros((n_problems, 1))], axis=1)
    shrink = 1 / np.sqrt(curvature + penalty)  # (P, r + 1)
    problems = _Problems(
        rows=np.concatenate([basis.rows, np.ones((n_rows, 1), dtype=np.float32)], axis=1),
        y=y,
        weights=weights,
        shrink=np.ascontiguousarray(shrink.T[:, :, None], dtype=np.float32),  # (r + 1, P, 1)
        ridge=np.ascontiguousarray((penalty * shrink**2).T[:, :, None], dtype=np.float32),
        offset=np.where(present, 0, ABSENT).astype(np.float32),  # (P, C)
    )
    w = np.zeros((len(basis.energy) + 1, n_problems, n_classes), dtype=np.float32)
    # Begin at the class shares. An earlier round's head is a worse place: where it is sure, the loss is flat.
    log_share = np.log(np.where(present, counts, 1) / total[:, None])
    w[-1] = np.where(present, log_share - log_share.mean(axis=1, keepdims=True), 0)
    found = _descend(problems, w / problems.shrink, tolerance, max_steps) * problems.shrink
    return np.ascontiguousarray(np.where(present, found, 0).transpose(1, 0, 2))


@dataclass(frozen=True, slots=True)
class _Problems:
    """Loss and gradient of P problems in scaled coordinates v, where head = shrink * v; v is (r + 1, P, C)."""

    rows: NDArray[np.float32]
    y: IndexArray
    weights: NDArray[np.float32]
    shrink: NDArray[np.float32]
    ridge: NDArray[np.float32]
    offset: NDArray[np.float32]

    def subset(self, keep: Array) -> _Problems:
        return _Problems(
            self.rows, self.y, self.weights[:, keep], self.shrink[:, keep], self.ridge[:, keep], self.offset[keep]
        )

    def evaluate(self, v: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Return losses (P,) and gradient (r + 1, P, C)."""
        width, n_problems, n_classes = v.shape
        z = (self.rows @ (self.shrink * v).reshape(width, -1)).reshape(-1, n_problems, n_classes)
        z += self.offset
        z -= z.max(axis=2, keepdims=True)
        own = np.take_along_axis(z, self.y[:, None, None], axis=2)[:, :, 0]  # (L, P)
        np.exp(z, out=z)
        mass = z.sum(axis=2)  # (L, P)
        # A row left out may have an absent class: its weight is 0 and its loss must not be inf * 0.
        loss = np.einsum("lp,lp->p", self.weights, np.log(mass) - own, dtype=np.float64)
        z *= (self.weights / mass)[:, :, None]
        z[np.arange(len(z)), :, self.y] -= self.weights
        gradient = (self.rows.T @ z.reshape(len(z), -1)).reshape(v.shape)
        gradient *= self.shrink
        pull = self.ridge * v
        loss += 0.5 * _dots(pull, v)
        gradient += pull
        return loss, gradient


def _dots(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Inner product of each problem, (P,)."""
    out: NDArray[np.float64] = np.einsum("rpc,rpc->p", a, b).astype(np.float64)
    return out


def _descend(problems: _Problems, v: NDArray[np.float32], tolerance: float, max_steps: int) -> NDArray[np.float32]:
    """Run L-BFGS on all problems side by side; finished ones leave the group."""
    out = v.copy()
    ids = np.arange(v.shape[1])
    loss, gradient = problems.evaluate(v)
    pairs: deque[tuple[NDArray[np.float32], NDArray[np.float32]]] = deque(maxlen=MEMORY)
    stuck = np.zeros(len(ids), dtype=bool)
    for _ in range(max_steps):
        done = stuck | (_dots(gradient, gradient) <= tolerance * loss)
        if done.any():
            out[:, ids[done]] = v[:, done]
            keep = ~done
            ids, loss, v, gradient = ids[keep], loss[keep], v[:, keep], gradient[:, keep]
            problems = problems.subset(keep)
            pairs = deque(((s[:, keep], t[:, keep]) for s, t in pairs), maxlen=MEMORY)
            if not len(ids):
                return out
        direction = _direction(gradient, pairs)
        new_v, new_loss, new_gradient, stuck = _line_search(problems, v, loss, gradient, direction)
        pairs.append((new_v - v, new_gradient - gradient))
        v, loss, gradient = new_v, new_loss, new_gradient
    out[:, ids] = v
    return out


def _line_search(
    problems: _Problems,
    v: NDArray[np.float32],
    loss: NDArray[np.float64],
    gradient: NDArray[np.float32],
    direction: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float32], Array]:
    """Halve each problem's step until its loss falls (Armijo, within float32 noise)."""
    slope = _dots(direction, gradient)
    step = np.ones(len(loss))
    for _ in range(12):
        new_v = v + step.astype(np.float32)[:, None] * direction
        new_loss, new_gradient = problems.evaluate(new_v)
        high = new_loss > loss + 1e-4 * step * slope + 1e-7 * loss
        if not high.any():
            return new_v, new_loss, new_gradient, high
        step[high] *= 0.4
    # Where no step helps, float32 has reached its end: stay there.
    new_v[:, high] = v[:, high]
    new_loss[high] = loss[high]
    new_gradient[:, high] = gradient[:, high]
    return new_v, new_loss, new_gradient, high


def _direction(
    gradient: NDArray[np.float32], pairs: deque[tuple[NDArray[np.float32], NDArray[np.float32]]]
) -> NDArray[np.float32]:
    """Two-loop recursion of L-BFGS (Nocedal & Wright, Algorithm 7.4); pairs without curvature count for nothing."""
    q = -gradient
    trail = []
    for s, t in reversed(pairs):
        curvature = _dots(s, t)
        rate = np.where(curvature > 1e-10 * _dots(t, t), 1 / np.maximum(curvature, 1e-30), 0)
        a = rate * _dots(s, q)
        q -= a.astype(np.float32)[:, None] * t
        trail.append((s, t, rate, a))
    if trail:
        s, t, rate, _ = trail[0]
        q *= np.where(rate > 0, 1 / np.maximum(rate * _dots(t, t), 1e-30), 1).astype(np.float32)[:, None]
    for s, t, rate, a in reversed(trail):
        b = rate * _dots(t, q)
        q += (a - b).astype(np.float32)[:, None] * s
    return q
