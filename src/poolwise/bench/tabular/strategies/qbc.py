"""Query by committee: the items about which four models disagree most.

Source: Seung, Opper & Sompolinsky, "Query by Committee", COLT 1992; committee and vote entropy as run by
Lu, Li & Lin, arXiv 2306.08954 (libact): logistic regression, linear and RBF support vector machines, linear
discriminant analysis, each trained on a bootstrap of the labeled items.
Differs from libact: gamma of the RBF member is 1/d on every version of scikit-learn.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from poolwise.bench.tabular.registry import State, tabular
from poolwise.bench.tabular.strategies.us_nc import entropy
from poolwise.types import FloatArray, IndexArray

SAME = 1e-10
"""Scaled rows that differ by less are equal."""


def committee() -> list[Any]:
    """Return the untrained members."""
    return [
        LogisticRegression(C=1.0, max_iter=1000),
        SVC(kernel="linear", C=1.0),
        SVC(kernel="rbf", C=1.0, gamma="auto"),
        LinearDiscriminantAnalysis(),
    ]


def bootstrap(y: IndexArray, rng: np.random.Generator) -> IndexArray:
    """Draw len(y) positions with replacement, again until every class of y appears."""
    n_classes = len(np.unique(y))
    while True:
        drawn = rng.integers(len(y), size=len(y))
        if len(np.unique(y[drawn])) == n_classes:
            return drawn


def vote_entropy(votes: IndexArray, n_classes: int) -> FloatArray:
    """Entropy of the votes of each column.

    Parameters
    ----------
    votes : (members, n) int64 classes

    Returns
    -------
    (n,) float64 in nats.
    """
    counts = (votes[:, :, None] == np.arange(n_classes)).sum(axis=0)  # (n, C)
    return entropy(counts / len(votes))


@tabular("qbc", family="uncertainty", paper="Seung et al., COLT 1992", column="QBC")
def qbc(state: State) -> IndexArray:
    """Take the items with the largest vote entropy of a bootstrapped committee; ties are drawn at random."""
    pool, votes = state.x[state.unlabeled], []
    for member in committee():
        drawn = bootstrap(state.y, state.rng)
        x, y = state.x[state.labeled[drawn]], state.y[drawn]
        if np.ptp(x, axis=0).max() < SAME and isinstance(member, LinearDiscriminantAnalysis):
            continue  # equal rows have no direction to discriminate by: no vote
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # collinear bootstraps and slow convergence do not stop a vote
            votes.append(member.fit(x, y).predict(pool))
    scores = vote_entropy(np.array(votes), state.n_classes)
    order = np.lexsort((state.rng.random(len(scores)), -scores))
    return state.unlabeled[order[: state.batch_size]]
