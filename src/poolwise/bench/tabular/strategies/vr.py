"""Variance reduction: the item that most narrows the predictions of a logistic model.

Source: Schein & Ungar, "Active learning for logistic regression: an evaluation", Machine Learning 68, 2007
(A-optimality): the sum over the pool of the predictive variances g' F^-1 g, where g is the gradient of a predicted
probability and F the Fisher information of the labeled items and the candidate.
Differs from libact: the trace is really computed (its published runs equal Random to four digits on most data
sets); the intercept is a parameter like the others; two classes.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from poolwise.bench.tabular.logistic import retrain_with_each, train_logistic, with_one
from poolwise.bench.tabular.registry import State, tabular
from poolwise.types import IndexArray

C_QUERY = 1.0
SIGMA = 100.0
"""1 / SIGMA is added to the diagonal of the Fisher information; 100 as in arXiv 2306.08954."""


@tabular("vr", family="uncertainty", paper="Schein & Ungar, ML 2007", column="VR", cost="very slow", binary_only=True)
def vr(state: State) -> IndexArray:
    """Take the items with the smallest expected sum of predictive variances after retraining.

    Notes
    -----
    Two retrained models and one (d + 1)-wide matrix solve for each unlabeled item: O(U (L d^2 + U d^2 + d^3)).
    """
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
    return state.best(-expected)
