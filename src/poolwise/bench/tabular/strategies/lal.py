"""Learning active learning: a regressor, trained on simulated tasks, predicts what a label would bring.

Source: Konyushkova, Sznitman & Fua, "Learning Active Learning from Data", NIPS 2017, with the eight features of
ALiPy: mean and deviation over the trees of P(class 0), share of class 1 among the labels, out-of-bag accuracy,
deviation of the feature importances over d, mean deviation over the pool, mean depth of the trees, and the number
of labels.
Differs from ALiPy: the simulated tasks are our own (`simulate_table`, two Gaussian classes in the plane, 5 to 200
labels), since its table is a download; the regressor has 200 trees, not 2000.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from importlib.resources import files
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from poolwise.bench.tabular.registry import State, tabular
from poolwise.types import IndexArray

TABLE = "lal_table.npz"
N_TREES = 50
REGRESSOR_TREES = 200
CANDIDATES = 5
TASK_ROWS = 300

Floats = NDArray[np.float64]


def grow_forest(x: Floats, y: IndexArray, seed: int) -> RandomForestClassifier:
    """Train the 50-tree forest whose state the features describe."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows that are in every bootstrap have no out-of-bag vote
        return RandomForestClassifier(N_TREES, oob_score=True, random_state=seed).fit(x, y)


def features(forest: RandomForestClassifier, y: IndexArray, pool: Floats) -> Floats:
    """Describe the state of the forest and each unlabeled item.

    Parameters
    ----------
    y : (L,) 0 or 1, the labels that the forest was trained on
    pool : (U, d) unlabeled rows

    Returns
    -------
    (U, 8) float64; only the first two columns differ between items.
    """
    votes = np.array([tree.predict_proba(pool)[:, 0] for tree in forest.estimators_])  # (50, U)
    mean, spread = votes.mean(axis=0), votes.std(axis=0)
    state = (
        y.mean(),
        forest.oob_score_,
        forest.feature_importances_.std() / pool.shape[1],
        spread.mean(),
        np.mean([tree.get_depth() for tree in forest.estimators_]),
        len(y),
    )
    return np.column_stack([mean, spread, np.tile(state, (len(pool), 1))])


def simulate_table(rng: np.random.Generator, n_tasks: int) -> Floats:
    """Simulate tasks, and record what one more label brings.

    Returns
    -------
    (5 n_tasks, 9) float64: the features of five candidates of each task, and the accuracy that each one gains.

    Notes
    -----
    Six forests a task, about 0.5 s.
    """
    rows = []
    for _ in range(n_tasks):
        share, n_labeled = rng.uniform(0.2, 0.8), int(np.exp(rng.uniform(np.log(5), np.log(200))))
        centres, shapes = rng.normal(size=(2, 2)) * 1.5, rng.normal(size=(2, 2, 2))
        y = (rng.random(2 * TASK_ROWS) < share).astype(np.int64)
        x = centres[y] + np.einsum("nij,nj->ni", shapes[y], rng.normal(size=(len(y), 2)))
        y[:2] = 0, 1  # the labeled part holds both classes
        seed = int(rng.integers(2**31))
        forest = grow_forest(x[:n_labeled], y[:n_labeled], seed)
        before = forest.score(x[TASK_ROWS:], y[TASK_ROWS:])
        described = features(forest, y[:n_labeled], x[n_labeled:TASK_ROWS])
        for place in rng.choice(len(described), size=CANDIDATES, replace=False):
            known = np.append(np.arange(n_labeled), n_labeled + place)
            after = grow_forest(x[known], y[known], seed).score(x[TASK_ROWS:], y[TASK_ROWS:])
            rows.append(np.append(described[place], after - before))
    return np.array(rows)


@lru_cache(maxsize=1)
def regressor() -> RandomForestRegressor:
    """Train the regressor on the table that comes with the package; about a second, once a process."""
    content = files("poolwise.bench.tabular").joinpath(TABLE).read_bytes()
    with np.load(BytesIO(content), allow_pickle=False) as stored:
        table = stored["table"].astype(np.float64)
    model = RandomForestRegressor(REGRESSOR_TREES, max_depth=40, max_features=6, random_state=0)
    return model.fit(table[:, :-1], table[:, -1])


@tabular(
    "lal", family="learned", paper="Konyushkova et al., NIPS 2017", column="LAL", cost="very slow", binary_only=True
)
def lal(state: State) -> IndexArray:
    """Take the items whose label is predicted to raise accuracy most."""
    forest = grow_forest(state.x[state.labeled], state.y, int(state.rng.integers(2**31)))
    described = features(forest, state.y, state.x[state.unlabeled])
    return state.best(np.asarray(regressor().predict(described), dtype=np.float64))
