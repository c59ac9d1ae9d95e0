"""GLISTER: take the items whose pseudo-labeled gradient step lowers the loss on held-out labels most.

Source: Killamsetty, Sivasubramanian, Ramakrishnan & Iyer, "GLISTER: Generalization based Data Subset Selection for
Efficient and Robust Learning", AAAI 2021, section 3 and Algorithm 2 (GLISTER-ACTIVE; one-step Taylor approximation on
the last layer, greedy in blocks).
Differs from the paper: where no validation items are named, the labeled items serve, with probabilities as if each
had been left out (one Newton step), because on items that the head was fitted to the summed gradient is nothing but
its regularisation; the step after each block is the one that lowers the validation loss most, so that it needs no
learning rate; while fewer than 30 % of the validation items are predicted right, pseudo-labels mislead and the middles
of clusters are taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from poolwise.errors import InputError, OptionError
from poolwise.kernels.blocks import load_rows, softmax_in_place
from poolwise.kernels.distances import UnitRows
from poolwise.kernels.middles import middles
from poolwise.kernels.sampling import TIE, best_first, row_blocks
from poolwise.registry import strategy
from poolwise.types import Array, BoolArray, FloatArray, IndexArray, Picks, Rows

MOST_VALIDATION = 5000
"""Validation items used; a random part of them where there are more."""

REGULARIZATION = 1.0
"""Prior precision of the step that leaves an item out, for rows of mean squared length 1."""

SMALLEST_PROB = 1e-30
LARGEST_CHANGE = 10.0
"""A step changes no logit of a validation item by more."""

Matrix = NDArray[np.float64]


@strategy(
    "glister",
    family="hybrid",
    paper="arXiv:2012.10630",
    cost="one pass, and another over a part for each of up to 20 blocks",
    use_when="You have items with labels whose loss is what counts, and a head that is right more often than not.",
    device=("D2 distances",),
)
def glister(
    embeddings: Rows,
    probs: Rows,
    labels: Array,
    labeled: IndexArray,
    unlabeled: IndexArray,
    validation: BoolArray | None = None,
    *,
    batch_size: int,
    rng: np.random.Generator,
    blocks: int = 20,
    least_accuracy: float = 0.3,
) -> Picks:
    """Take blocks of largest inner product of pseudo-label gradient and validation gradient, stepping after each.

    Parameters
    ----------
    embeddings : (N, D) features that the head gets
    probs : (N, C) class probabilities
    labels : (N,) int64, -1 where unlabeled
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted
    validation : (N,) bool, labeled items that the head was not fitted to; default: all labeled items, corrected
    batch_size : B, 1 <= B <= U
    rng : draws the validation items where there are more than 5000, and seeds clusters
    blocks : r, the batch is taken in so many parts, >= 1
    least_accuracy : share of validation items that must be predicted right, in [0, 1]; below it, and without labels,
        the middles of B clusters are taken

    Returns
    -------
    Picks; scores are the inner products when an item was taken (with clusters: their sizes); component `block`.

    Raises
    ------
    InputError
        If a label is not below C, or no validation item is labeled.
    OptionError
        If an option is out of range.

    Notes
    -----
    Time U C D, then for each further block at most as much: scores are computed again only where the change of the
    validation gradient can have lifted them to the top. Memory U + V (D + C) + C D numbers.
    """
    if blocks < 1 or not 0 <= least_accuracy <= 1:
        raise OptionError(
            f"glister: blocks must be at least 1, least_accuracy in [0, 1]; got {blocks} and {least_accuracy}."
        )
    held_out = labeled if validation is None else labeled[np.asarray(validation, dtype=bool)[labeled]]
    if validation is not None and not len(held_out):
        raise InputError("glister: no item of `validation` is labeled; name labeled items, or leave validation out.")
    judge = None
    if len(held_out):
        judge = _judge(embeddings, probs, np.asarray(labels), labeled, held_out, validation is None, rng)
    accuracy = 0.0 if judge is None else judge.accuracy()
    if judge is None or accuracy < least_accuracy:
        at, clusters = middles(UnitRows(embeddings), unlabeled, batch_size, rng)
        sizes = clusters.sizes[clusters.labels[at]].astype(np.float64)
        block = np.zeros(batch_size, dtype=np.int64)
        return Picks(unlabeled[at], sizes, {"block": block}, {"accuracy": accuracy, "taken_by": "clusters"})
    pool = _Pool(embeddings, probs, unlabeled, judge.scale)
    edges = np.linspace(0, batch_size, min(blocks, batch_size) + 1).astype(np.int64)
    chosen, scores = np.empty(batch_size, dtype=np.int64), np.empty(batch_size)
    for start, stop in pairwise(edges.tolist()):
        at, scores[start:stop] = pool.best(judge.gradient(), stop - start)
        chosen[start:stop] = at
        judge.step(*pool.take(at))
    block = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    notes = {"accuracy": accuracy, "taken_by": "gradients", "validation": len(judge.x), "loss": judge.loss()}
    return Picks(unlabeled[chosen], scores, {"block": block}, notes)


@dataclass(slots=True)
class Judge:
    """The validation items, and what the head says of them as it is moved.

    x : (V, D) rows divided by `scale`
    z : (V, C) logits
    y : (V,) classes
    """

    x: Matrix
    z: Matrix
    y: IndexArray
    scale: float

    def accuracy(self) -> float:
        """Share that is predicted right."""
        return float((self.z.argmax(axis=1) == self.y).mean())

    def loss(self) -> float:
        """Mean log loss."""
        true = _softmax(self.z)[np.arange(len(self.y)), self.y]
        return float(0 - np.log(np.maximum(true, SMALLEST_PROB)).mean())

    def errors(self, z: Matrix) -> Matrix:
        """Probabilities minus the true class, (V, C)."""
        p = _softmax(z)
        p[np.arange(len(p)), self.y] -= 1
        return p

    def gradient(self) -> Matrix:
        """Sum over the items of (p - e_y) x', (C, D)."""
        return np.asarray(self.errors(self.z).T @ self.x)

    def step(self, x: Matrix, q: Matrix) -> None:
        """Move the head against the gradients q x' (of m items) as far as the loss falls.

        Parameters
        ----------
        x, q : (m, D) scaled rows, (m, C) probabilities minus the predicted class
        """
        change = -(self.x @ (q.T @ x).T)  # (V, C), of the logits for a step of 1
        size = float(np.abs(change).max())
        low, high = 0.0, LARGEST_CHANGE / size if size > 0 else 0.0

        def slope(at: float) -> float:
            return float(np.einsum("ij,ij->", self.errors(self.z + at * change), change))

        if slope(high) <= 0:
            low = high
        for _ in range(20 if low < high else 0):
            middle = (low + high) / 2
            low, high = (low, middle) if slope(middle) > 0 else (middle, high)
        self.z = self.z + low * change


def _softmax(z: Matrix) -> Matrix:
    return np.asarray(softmax_in_place(z.copy()))


def _judge(
    embeddings: Rows,
    probs: Rows,
    labels: Array,
    labeled: IndexArray,
    held_out: IndexArray,
    fitted: bool,
    rng: np.random.Generator,
) -> Judge:
    """Load the validation items; with `fitted`, as if each had been left out when the head was fitted."""
    if len(held_out) > MOST_VALIDATION:
        held_out = np.sort(rng.choice(held_out, MOST_VALIDATION, replace=False))
    y, n_classes = labels[held_out].astype(np.int64), int(probs.shape[1])
    if y.max() >= n_classes:
        raise InputError(
            f"glister: item {held_out[y.argmax()]} has label {y.max()}; probs has {n_classes} classes. "
            "Give a column for every class."
        )
    curvature = np.zeros((int(embeddings.shape[1]),) * 2)
    total = 0.0
    for _, _, rows, local in row_blocks({"x": embeddings, "p": probs}, labeled, np.float64):
        x = rows["x"][local]
        curvature += (x * _curvature(rows["p"][local])[:, None]).T @ x
        total += float(np.einsum("ij,ij->", x, x))
    scale = float(np.sqrt(total / len(labeled))) or 1.0
    x = load_rows(embeddings, held_out, np.float64) / scale
    p = load_rows(probs, held_out, np.float64)
    judge = Judge(x, np.log(np.maximum(p, SMALLEST_PROB)), y, scale)
    if fitted:
        inverse = np.linalg.inv(curvature / scale**2 + REGULARIZATION * np.eye(x.shape[1]))
        reach = np.einsum("ij,ij->i", x @ inverse, x)
        judge.z += (reach / (1 - reach * _curvature(p)))[:, None] * judge.errors(judge.z)
    return judge


def _curvature(p: Matrix) -> Matrix:
    """Sum of the curvatures of the log loss over the logits, (n,): with two classes it is that of their difference."""
    return np.asarray(1 - np.einsum("ij,ij->i", p, p))


class _Pool:
    """The unlabeled items, with bounds on their scores that are computed again only where they might decide."""

    def __init__(self, embeddings: Rows, probs: Rows, indices: IndexArray, scale: float) -> None:
        self.rows = {"x": embeddings, "p": probs}
        self.indices = indices
        self.scale = scale
        self.score = np.full(len(indices), np.inf)
        self.length = np.zeros(len(indices))  # of the gradients
        self.drift = 0.0  # length of the way that the validation gradient has come
        self.seen_at = np.full(len(indices), -1.0)  # drift at which `score` was exact
        self.free = np.ones(len(indices), dtype=bool)
        self.gradient: Matrix | None = None

    def best(self, gradient: Matrix, count: int) -> tuple[IndexArray, FloatArray]:
        """Positions and scores of the `count` free items of largest inner product with the gradient."""
        if self.gradient is not None:
            self.drift += float(np.linalg.norm(gradient - self.gradient, 2)) * (1 + 1e-9)
        self.gradient = gradient
        upper = np.where(self.free, self.score + (self.drift - self.seen_at) * self.length, -np.inf)
        at_once = 2 * count + 4096
        while True:
            cut = np.partition(upper, -at_once)[-at_once] if at_once < len(upper) else -np.inf
            slack = TIE * float(np.abs(upper[np.isfinite(upper)]).max(initial=0.0))
            first = np.flatnonzero(self.free & (upper >= cut - slack))
            todo = first[self.seen_at[first] < self.drift]
            if not len(todo):
                break
            self._update(todo)
            upper[todo] = self.score[todo]
            at_once = min(2 * at_once, len(upper))
        order = best_first(upper[first], self.indices[first], count)
        return first[order], upper[first[order]]

    def _update(self, at: IndexArray) -> None:
        assert self.gradient is not None
        for start, pool, blocks, local in row_blocks(self.rows, self.indices[at], np.float64):
            here = at[start : start + len(pool)]
            x, q = blocks["x"][local] / self.scale, pseudo_errors(blocks["p"][local])
            self.score[here] = inner_products(x, q, self.gradient)
            self.length[here] = np.sqrt(np.einsum("ij,ij->i", x, x) * np.einsum("ij,ij->i", q, q))
        self.seen_at[at] = self.drift

    def take(self, at: IndexArray) -> tuple[Matrix, Matrix]:
        """Remove items; return their scaled rows and errors."""
        self.free[at] = False
        chosen = self.indices[at]
        x = load_rows(self.rows["x"], chosen, np.float64) / self.scale
        return x, pseudo_errors(load_rows(self.rows["p"], chosen, np.float64))


def pseudo_errors(probs: FloatArray) -> Matrix:
    """Probabilities minus the predicted class, (n, C) float64."""
    q = np.array(probs, dtype=np.float64)
    q[np.arange(len(q)), q.argmax(axis=1)] -= 1
    return q


def inner_products(x: Matrix, q: Matrix, gradient: Matrix) -> Matrix:
    """q' G x of each row, (n,): how fast a step against the gradient q x' lowers the loss whose gradient is G."""
    return np.asarray(np.einsum("ij,ij->i", q, x @ gradient.T))
