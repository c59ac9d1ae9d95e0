"""Uncertainty sampling with a logistic model, whatever model is evaluated ("US-NC", not compatible).

Source: Lewis & Gale, SIGIR 1994; the pairing of Zhan et al., IJCAI 2021 (libact, logistic regression, C = 0.1).
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from poolwise.bench.tabular.logistic import train_logistic, with_one
from poolwise.bench.tabular.registry import State, tabular
from poolwise.types import IndexArray

C_QUERY = 0.1


def logistic_probs(state: State, c: float) -> NDArray[np.float64]:
    """Train logistic regression on the labeled rows and predict all train rows.

    Returns
    -------
    (n_train, C) float64, rows sum to 1.
    """
    if state.n_classes > 2:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=c, max_iter=1000).fit(state.x[state.labeled], state.y)
        return np.asarray(model.predict_proba(state.x), dtype=np.float64)
    x = with_one(state.x)
    key = f"logistic weights {c}"
    start = state.memo.get(key)
    state.memo[key] = train_logistic(x[state.labeled], state.y.astype(np.float64), c, start)
    p = expit(x @ state.memo[key])
    return np.column_stack([1 - p, p])


def entropy(probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy of each row in nats; 0 log 0 is 0."""
    logs = np.log(probs, out=np.zeros_like(probs), where=probs > 0)
    return np.asarray(-(probs * logs).sum(axis=1), dtype=np.float64)


@tabular("us_nc", family="uncertainty", paper="Lewis & Gale, SIGIR 1994", column="US-NC")
def us_nc(state: State) -> IndexArray:
    """Take the items whose class is least certain to a logistic model with C = 0.1."""
    return state.best(entropy(logistic_probs(state, C_QUERY)[state.unlabeled]))
