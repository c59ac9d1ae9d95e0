"""SelectAL: learn from the labeled items which kind of strategy fits the budget, by asking whose removal hurts most.

Source: Hacohen & Weinshall, "How to Select Which Active Learning Strategy is Best Suited for Your Specific Problem and
Budget", NeurIPS 2023, Algorithm 1.
Differs from the paper: ridge heads; the error is measured on labeled rows that neither are removed nor fitted on;
where the worst two removals differ by less than one standard error, Uncertainty Herding is followed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from poolwise.auto.clock import Clock
from poolwise.auto.nominations import CANNOT_RUN, Situation, ask, situation
from poolwise.auto.rehearsal import LEAST_ROWS, MOST_ROWS
from poolwise.auto.ridge import PENALTY, one_hot, reduced
from poolwise.errors import OptionError
from poolwise.kernels.blocks import load_rows
from poolwise.registry import strategy
from poolwise.train.linear_probe import out_of_fold_logits
from poolwise.types import FloatArray, IndexArray, Picks, Rows

JUDGES = 0.3
"""Share of the labeled rows that only judges."""


@strategy(
    "selectal",
    family="selector",
    paper="arXiv:2306.03543",
    cost="that of the strategy it follows, and some ridge fits on the labeled items",
    use_when="To decide between a low-budget and a high-budget strategy from the labels at hand.",
)
def selectal(
    embeddings: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    labels: IndexArray | None = None,
    logits: Rows | None = None,
    *,
    batch_size: int,
    rng: np.random.Generator,
    low: str = "typiclust",
    high: str = "margin",
    tie: str = "uherding",
    removed: float = 0.2,
    repeats: int = 6,
) -> Picks:
    """Remove from the labeled items what each strategy would choose, and follow the one whose removal hurts most.

    Parameters
    ----------
    embeddings : (N, D) features
    labeled : (L,) int64 pool indices, sorted; may be empty
    unlabeled : (U,) int64 pool indices, sorted
    labels : (N,) int64, -1 where unlabeled
    logits : (N, C); for strategies that use them or probabilities
    batch_size : B, 1 <= B <= U
    rng : draws the splits and seeds the strategies
    low, high : strategies for low and high budgets; `random` is the third
    tie : strategy where the removals hurt alike
    removed : share of the labeled rows to remove, in (0, 0.5]
    repeats : splits, at least 1

    Returns
    -------
    Picks of the strategy followed; notes hold the errors, and by how much the largest is above their mean.
    """
    if not 0 < removed <= 0.5 or repeats < 1:
        raise OptionError(
            f"selectal: removed must be above 0 and at most 0.5, repeats at least 1; got {removed} and {repeats}."
        )
    now = situation(labeled, unlabeled, labels, embeddings=embeddings, logits=logits)
    names = (low, high, "random")
    clock = Clock()
    errors = removal_errors(now, names, removed, repeats, rng)
    clock.lap("search")
    name = tie
    if errors is not None:
        mean = errors.mean(axis=0)
        first, second = np.argsort(-mean, kind="stable")[:2]
        apart = errors[:, first] - errors[:, second]
        if apart.mean() > apart.std() / np.sqrt(len(apart)):
            name = names[first]
    seed = int(rng.integers(2**62))
    try:
        chosen = ask(now, name, batch_size, seed)
    except CANNOT_RUN:
        name = "maxherding"  # no model yet
        chosen = ask(now, name, batch_size, seed)
    clock.lap("scoring")
    told = {} if errors is None else dict(zip(names, errors.mean(axis=0).round(4).tolist(), strict=True))
    notes = {"followed": name, "error_without": told, **chosen.notes, **clock.laps}
    if errors is not None:
        notes["expected_gain"] = float(errors.mean(axis=0).max() - errors.mean())
    return Picks(chosen.indices, chosen.scores, chosen.components, notes)


def removal_errors(
    now: Situation, names: tuple[str, ...], removed: float, repeats: int, rng: np.random.Generator
) -> FloatArray | None:
    """Error after removal of what each strategy would choose, (repeats, strategies); None with too few labels."""
    rows, y = now.labeled, now.y
    if len(y) > MOST_ROWS:
        some = np.sort(rng.permutation(len(y))[:MOST_ROWS])
        rows, y = rows[some], y[some]
    present, y = np.unique(y, return_inverse=True)
    if len(y) < LEAST_ROWS or len(present) < 2:
        return None
    embeddings = now.arrays["embeddings"]
    raw = load_rows(embeddings, rows)
    logits = out_of_fold_logits(raw, y, len(present))
    x, target = reduced(raw), one_hot(y, len(present))
    out = np.empty((repeats, len(names)))
    for repeat in range(repeats):
        order = rng.permutation(len(y))
        count = max(2, round(JUDGES * len(y)))
        judges, rest = order[:count], np.sort(order[count:])
        small = replace(
            now,
            labeled=np.empty(0, dtype=np.int64),
            unlabeled=rest,
            labels=None,
            arrays={"embeddings": raw, "logits": logits},
        )
        seed = int(rng.integers(2**62))
        for k, name in enumerate(names):
            gone = ask(small, name, max(1, round(removed * len(rest))), seed).indices
            out[repeat, k] = _error(x, target, y, np.setdiff1d(rest, gone), judges)
    return out


def _error(x: FloatArray, target: FloatArray, y: IndexArray, kept: IndexArray, judges: IndexArray) -> float:
    a = x[kept].T @ x[kept] + PENALTY * np.eye(x.shape[1])
    head = np.linalg.solve(a, x[kept].T @ target[kept])
    return float(((x[judges] @ head).argmax(axis=1) != y[judges]).mean())
