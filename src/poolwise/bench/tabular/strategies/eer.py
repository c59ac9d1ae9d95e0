"""Expected error reduction: the item that leaves the least entropy in the rest of the pool.

Source: Roy & McCallum, "Toward Optimal Active Learning through Sampling Estimation of Error Reduction", ICML 2001,
with the log loss of ALiPy: total entropy of the other unlabeled items.
Differs from Lu, Li & Lin, arXiv 2306.08954: they retrain a support vector machine with Platt probabilities; here the
query model is logistic regression with C = 1, the default of ALiPy (whose liblinear also regularises the intercept).
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import expit, xlogy
from sklearn.linear_model import LogisticRegression

from poolwise.bench.tabular.logistic import Floats, retrain_with_each, train_logistic, with_one
from poolwise.bench.tabular.registry import State, tabular
from poolwise.bench.tabular.strategies.us_nc import entropy
from poolwise.types import IndexArray

C_QUERY = 1.0
BLOCK = 256
"""Candidates whose predictions of the whole pool are in memory at once."""


@tabular("eer", family="uncertainty", paper="Roy & McCallum, ICML 2001", column="EER", cost="slow")
def eer(state: State) -> IndexArray:
    """Take the items with the smallest expected entropy of the other unlabeled items after retraining.

    Notes
    -----
    C retrained models for each unlabeled item: O(C U (L + U) d) a query for two classes, with warm starts;
    more classes are trained one by one.
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
        for first in range(0, len(pool), BLOCK):
            block = slice(first, first + BLOCK)
            weights = retrain_with_each(x, y, pool[block], label, C_QUERY, start)  # (block, d + 1)
            q = expit(weights @ pool.T)  # (block, U)
            left = -(xlogy(q, q) + xlogy(1 - q, 1 - q))
            own = left[np.arange(len(left)), np.arange(first, first + len(left))]
            expected[block] += weight[block] * (left.sum(axis=1) - own)
    return expected


def _more_classes(state: State) -> Floats:
    x, pool = state.x[state.labeled], state.x[state.unlabeled]
    model = LogisticRegression(C=C_QUERY, max_iter=1000, warm_start=True)
    expected = np.zeros(len(pool))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # slow convergence: the weights are good enough to rank
        p = model.fit(x, state.y).predict_proba(pool)  # (U, C)
        for i in range(len(pool)):
            rows, others = np.vstack([x, pool[i]]), np.delete(pool, i, axis=0)
            if len(others) == 0:
                break
            for label in range(state.n_classes):
                left = model.fit(rows, np.append(state.y, label)).predict_proba(others)
                expected[i] += p[i, label] * entropy(left).sum()
    return expected
