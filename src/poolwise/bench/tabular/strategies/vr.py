"""Variance reduction: the item that most narrows the predictions of a logistic model.

Source: Schein & Ungar, "Active learning for logistic regression: an evaluation", Machine Learning 68, 2007
(A-optimality): the sum over the pool of the predictive variances g' F^-1 g, where g is the gradient of a predicted
probability and F the Fisher information of the labeled items and the candidate; with more than two classes those of the
multinomial model, summed over the classes.
Differs from libact: the trace is really computed (its published runs equal Random to four digits on most data
sets); the intercept is a parameter like the others.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, softmax

from poolwise.bench.tabular.logistic import Floats, retrain_with_each, train_logistic, with_one
from poolwise.bench.tabular.multilogistic import fisher_information, train_softmax
from poolwise.bench.tabular.registry import State, tabular
from poolwise.types import IndexArray

C_QUERY = 1.0
SIGMA = 100.0
"""1 / SIGMA is added to the diagonal of the Fisher information; 100 as in arXiv 2306.08954."""


@tabular("vr", family="uncertainty", paper="Schein & Ungar, ML 2007", column="VR", cost="very slow")
def vr(state: State) -> IndexArray:
    """Take the items with the smallest expected sum of predictive variances after retraining.

    Notes
    -----
    One retrained model and one matrix solve for each unlabeled item and class: O(U (L d^2 + U d^2 + d^3)) for two
    classes. For C > 2 the matrix is C (d + 1) wide: O(U C (L + U) C^2 d^2 + U C^4 d^3).
    """
    return state.best(-(_two_classes(state) if state.n_classes == 2 else _more_classes(state)))


def _two_classes(state: State) -> Floats:
    x, y = with_one(state.x[state.labeled]), state.y.astype(np.float64)
    pool = with_one(state.x[state.unlabeled])
    start = train_logistic(x, y, C_QUERY, state.memo.get("weights"))
    state.memo["weights"] = start
    p = expit(pool @ start)  # (U,)
    expected = np.zeros(len(pool))
    for label, weight in ((0.0, 1 - p), (1.0, p)):
        for i, w in enumerate(retrain_with_each(x, y, pool, label, C_QUERY, start)):
            rows = np.vstack([x, pool[i]])
            q = expit(rows @ w)
            fisher = (rows.T * (q * (1 - q))) @ rows + np.eye(len(w)) / SIGMA
            q = expit(pool @ w)
            gradients = pool * (q * (1 - q))[:, None]  # (U, d + 1); both classes have the same variance
            spread = np.einsum("ij,ij->", gradients, np.linalg.solve(fisher, gradients.T).T)
            expected[i] += weight[i] * 2 * spread
    return expected


def _more_classes(state: State) -> Floats:
    n_classes = state.n_classes
    x, pool = with_one(state.x[state.labeled]), with_one(state.x[state.unlabeled])
    start = train_softmax(x, state.y, n_classes, C_QUERY, state.memo.get("weights"))
    state.memo["weights"] = start
    p = softmax(pool @ start.T, axis=1)  # (U, C)
    expected = np.zeros(len(pool))
    for i in range(len(pool)):
        rows = np.vstack([x, pool[i]])
        for label in range(n_classes):
            w = train_softmax(rows, np.append(state.y, label), n_classes, C_QUERY, start)
            fisher = fisher_information(rows, softmax(rows @ w.T, axis=1)) + np.eye(w.size) / SIGMA
            q = softmax(pool @ w.T, axis=1)
            slopes = q[:, :, None] * (np.eye(n_classes) - q[:, None, :])  # (U, C, C): d q_c / d logit_b
            gradients = (slopes[:, :, :, None] * pool[:, None, None, :]).reshape(-1, w.size)  # (U C, C (d + 1))
            expected[i] += p[i, label] * np.trace(np.linalg.solve(fisher, gradients.T @ gradients))
    return expected
