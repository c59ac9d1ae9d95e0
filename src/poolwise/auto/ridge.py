"""What labels are worth: a ridge head on weighted rows, its validation loss, and the exact derivative by the weights.

Source: our own (closed form); the validation loss is the Brier score, Brier, "Verification of forecasts", 1950.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poolwise.types import FloatArray, IndexArray

PENALTY = 0.1
"""Times the mean squared length of the rows; as strength 0.1 of the linear probe."""
WIDTH = 128
"""Leading directions of the labeled rows that the head sees."""


def reduced(x: FloatArray) -> FloatArray:
    """Centred coordinates of rows in their leading directions, mean squared length 1, and a constant: (L, r + 1)."""
    x = x.astype(np.float64)
    x = x - x.mean(axis=0)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    z = (u * s)[:, :WIDTH]
    scale = float(np.sqrt((z**2).sum() / max(1, len(z))))
    return np.hstack([z / (scale or 1.0), np.ones((len(z), 1))])


def one_hot(y: IndexArray, n_classes: int) -> FloatArray:
    """(L, C) rows of the identity."""
    out: FloatArray = np.eye(n_classes)[y]
    return out


@dataclass(frozen=True, slots=True)
class RidgeProblem:
    """Three disjoint parts of the labeled rows: known ones, ones to buy, ones to be judged on.

    known, offered, judges : (x, y) pairs of (n, D) rows and (n, C) one-hot labels
    """

    known: tuple[FloatArray, FloatArray]
    offered: tuple[FloatArray, FloatArray]
    judges: tuple[FloatArray, FloatArray]

    def loss(self, weights: FloatArray) -> tuple[float, FloatArray]:
        """Validation loss with offered rows weighted so, and its derivative by each weight.

        Parameters
        ----------
        weights : (n,) float >= 0 of the offered rows

        Returns
        -------
        Mean squared error over the judges' one-hot labels, and (n,) derivatives.
        """
        (xk, yk), (xo, yo), (xj, yj) = self.known, self.offered, self.judges
        a = xk.T @ xk + (xo.T * weights) @ xo + PENALTY * np.eye(xk.shape[1])
        head = np.linalg.solve(a, xk.T @ yk + (xo.T * weights) @ yo)  # (D, C)
        error = xj @ head - yj
        by_head = np.linalg.solve(a, 2 / len(xj) * xj.T @ error)  # (D, C)
        gradient: FloatArray = ((xo @ by_head) * (yo - xo @ head)).sum(axis=1)
        return float((error**2).sum() / len(xj)), gradient
