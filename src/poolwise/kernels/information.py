"""Information shared between labels, estimated from samples of one set of models: EPIG and BatchBALD.

Sample s of every row must come from the same model, so that rows that are predicted alike move together.

Source: Bickford Smith, Kirsch, Farquhar, Gal, Foster & Rainforth, "Prediction-Oriented Bayesian Active Learning",
AISTATS 2023, equation 6; Kirsch, van Amersfoort & Gal, "BatchBALD", NeurIPS 2019, section 3 and Algorithm 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from poolwise.kernels.scores import SMALLEST_PROB
from poolwise.progress import task
from poolwise.types import FloatArray, IndexArray

Samples = NDArray[np.float64]


def bucketed(samples: FloatArray, count: int) -> Samples:
    """Keep the classes likeliest on average, and put the rest into one: (n, S, C) to (n, S, min(C, count + 1))."""
    p = np.asarray(samples, dtype=np.float64)
    if p.shape[2] <= count + 1:
        return p
    order = np.argsort(-p.mean(axis=1), axis=1, kind="stable")[:, None, :count]
    kept = np.take_along_axis(p, order, axis=2)
    rest = np.maximum(p.sum(axis=2, keepdims=True) - kept.sum(axis=2, keepdims=True), 0)
    return np.concatenate([kept, rest], axis=2)


def entropy(p: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Entropy in nats along an axis; 0 log 0 = 0."""
    return np.asarray(-(p * np.log(np.maximum(p, SMALLEST_PROB))).sum(axis=axis))


def expected_information(rows: Samples, targets: Samples) -> NDArray[np.float64]:
    """Mean information that the label of each row gives about the labels of the targets.

    Parameters
    ----------
    rows : (n, S, C)
    targets : (T, S, K), from the same S models

    Returns
    -------
    (n,) float64 >= 0, nats.

    Notes
    -----
    Time n T C K S, memory n T C K numbers.
    """
    n, n_samples, n_classes = rows.shape
    left = rows.transpose(0, 2, 1).reshape(n * n_classes, n_samples)
    right = targets.transpose(1, 0, 2).reshape(n_samples, -1)  # (S, T K)
    joint = (left @ right / n_samples).reshape(n, n_classes, len(targets), -1)
    together = entropy(joint.transpose(0, 2, 1, 3).reshape(n, len(targets), -1)).mean(axis=1)
    alone = entropy(rows.mean(axis=1)) + entropy(targets.mean(axis=1)).mean()
    return np.asarray(np.maximum(alone - together, 0))


class _Joint:
    """Labels of the rows taken so far, as configurations: all of them, or a sample when there are too many.

    likelihood : (M, S), probability of each configuration under each model
    weight : (M,), 1 where all are listed; 1 / (M x probability) where they are sampled
    """

    def __init__(self, n_samples: int, most: int, rng: np.random.Generator) -> None:
        self.likelihood = np.ones((1, n_samples))
        self.model: IndexArray | None = None  # the model that drew each sampled configuration
        self.most, self.rng = most, rng
        self.taken: list[Samples] = []

    def entropies(self, rows: Samples) -> NDArray[np.float64]:
        """Entropy of the labels taken together with that of each row, (n,)."""
        n, n_samples, n_classes = rows.shape
        right = rows.transpose(1, 0, 2).reshape(n_samples, -1)
        out = np.zeros(n * n_classes)
        own = self.likelihood.mean(axis=1)
        weight = np.ones(len(own)) if self.model is None else 1 / (len(own) * np.maximum(own, 1e-300))
        for start in range(0, len(own), 256):
            q = self.likelihood[start : start + 256] @ right / n_samples  # (M, n C)
            out -= weight[start : start + 256] @ (q * np.log(np.maximum(q, 1e-300)))
        return np.asarray(out.reshape(n, n_classes).sum(axis=1))

    def add(self, row: Samples) -> None:
        """Take one (S, C) row: list its labels too, or draw one for each configuration."""
        self.taken.append(row)
        if self.model is None and len(self.likelihood) * row.shape[1] <= self.most:
            self.likelihood = (self.likelihood[:, None, :] * row.T[None]).reshape(-1, len(row))
        elif self.model is None:
            self.model = np.arange(self.most) % len(row)
            self.likelihood = np.ones((self.most, len(row)))
            for earlier in self.taken:
                self._draw(earlier)
        else:
            self._draw(row)

    def _draw(self, row: Samples) -> None:
        reach = np.cumsum(row, axis=1)[self.model]  # (M, C)
        label = (self.rng.random(len(reach))[:, None] * reach[:, -1:] >= reach).sum(axis=1)
        self.likelihood *= row.T[np.minimum(label, row.shape[1] - 1)]


def greedy_joint_information(
    rows: Samples, count: int, most: int, rng: np.random.Generator
) -> tuple[IndexArray, NDArray[np.float64]]:
    """Take rows one by one so that their labels together tell most about the model.

    Parameters
    ----------
    rows : (n, S, C)
    count : 1 <= count <= n
    most : configurations of labels that are listed, and that are sampled when there are more
    rng : draws configurations

    Returns
    -------
    (count,) positions, and what each added to the information, nats. Lowest position among equals.

    Notes
    -----
    Time count x most x n C S.
    """
    joint = _Joint(rows.shape[1], most, rng)
    doubt = entropy(rows).mean(axis=1)  # mean entropy given the model
    free = np.ones(len(rows), dtype=bool)
    chosen, gains, reached, spent = np.empty(count, dtype=np.int64), np.empty(count), 0.0, 0.0
    with task("choosing jointly", count) as work:
        for rank in range(count):
            information = np.where(free, joint.entropies(rows) - doubt - spent, -np.inf)
            position = int((information >= information.max() - 1e-12).argmax())
            chosen[rank], gains[rank] = position, information[position] - reached
            reached = float(information[position])
            spent += float(doubt[position])
            free[position] = False
            joint.add(rows[position])
            work.advance()
    return chosen, gains
