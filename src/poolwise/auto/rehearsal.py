"""Rehearse a query on the labeled rows: a part of them plays the pool, the candidates choose from it, the rest judges.

Source: Wang et al., "AutoAL", ICML 2025, section 3 (labeled rows play the pool).
Differs from the paper: three disjoint parts, several splits; candidates run once per split with a head that has seen
the known part only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from poolwise.auto.nominations import Nominations, Situation, nominate
from poolwise.auto.ridge import RidgeProblem, one_hot, reduced
from poolwise.kernels.blocks import load_rows
from poolwise.train.linear_probe import FIRST_STRENGTH, ProbeSettings, fit_linear
from poolwise.types import FloatArray, IndexArray

SHARES = (0.4, 0.4)
"""Known and offered parts of the labeled rows; the rest judges."""
QUOTA = 0.25
"""Share of the offered rows that is bought."""
MOST_ROWS = 2000
"""More labeled rows than these are not rehearsed on."""
LEAST_ROWS = 12


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One split.

    rows : (n,) int64 sorted pool indices of the offered rows
    grades : (n, K) of the candidates, in the order of `names` given to `rehearse`; 0 for one that could not run
    probs : (n, P) of a head that has not seen these rows
    surprise : (n,) cross-entropy of that head
    quota : how many rows are bought
    problem : what buying is worth
    """

    rows: IndexArray
    grades: FloatArray
    probs: FloatArray
    surprise: FloatArray
    known: IndexArray
    quota: int
    problem: RidgeProblem


def rehearse(now: Situation, names: Sequence[str], splits: int, rng: np.random.Generator) -> list[Rehearsal]:
    """Split the labeled rows several times and let the candidates choose.

    Parameters
    ----------
    now : arrays (with embeddings) and state
    names : K candidates
    splits : how often
    rng : draws the splits

    Returns
    -------
    Rehearsals; none with fewer than 12 labeled rows or two classes.
    """
    rows, y = now.labeled, now.y
    if len(y) > MOST_ROWS:
        some = np.sort(rng.permutation(len(y))[:MOST_ROWS])
        rows, y = rows[some], y[some]
    present, y = np.unique(y, return_inverse=True)
    if len(y) < LEAST_ROWS or len(present) < 2:
        return []
    embeddings = now.arrays["embeddings"]
    x, target = reduced(load_rows(embeddings, rows)), one_hot(y, len(present))
    out = []
    for _ in range(splits):
        known, offered, judges = _parts(y, rng)
        if len(np.unique(y[known])) < 2:
            continue
        settings = ProbeSettings(strength=FIRST_STRENGTH, calibrate=False)
        head = fit_linear(load_rows(embeddings, rows[known]), y[known], len(present), settings=settings)
        labels = np.full(len(embeddings), -1, dtype=np.int64)
        labels[rows[known]] = y[known]
        then = replace(
            now,
            labeled=rows[known],
            unlabeled=rows[offered],
            labels=labels,
            arrays={"embeddings": embeddings, "head_weight": head.head_weight, "head_bias": head.head_bias},
        )
        quota = max(1, round(QUOTA * len(offered)))
        found = nominate(then, names, quota, int(rng.integers(2**62)))
        probs = head.probs(load_rows(embeddings, rows[offered])).astype(np.float64)
        surprise = -np.log(np.maximum(probs[np.arange(len(offered)), y[offered]], 1e-12))
        parts = [(x[part], target[part]) for part in (known, offered, judges)]
        grades = columns(found, names, rows[offered])
        problem = RidgeProblem(*parts)
        out.append(Rehearsal(rows[offered], grades, probs, surprise, rows[known], quota, problem))
    return out


def _parts(y: IndexArray, rng: np.random.Generator) -> list[IndexArray]:
    """Three disjoint parts, sorted; the classes are mixed evenly."""
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    place = rng.random() + np.arange(len(y)) * 0.6180339887498949  # spreads the rows of a class evenly
    share = np.empty(len(y))
    share[order] = place % 1
    edges = np.cumsum(SHARES)
    return [np.flatnonzero(np.searchsorted(edges, share, side="right") == part) for part in range(3)]


def columns(found: Nominations, names: Sequence[str], rows: IndexArray) -> FloatArray:
    """Grades in the order of `names`: a merged candidate has those of the one that stands for it."""
    grades = found.at(rows)
    out = np.zeros((len(rows), len(names)))
    for k, name in enumerate(names):
        stand_in = found.merged.get(name, name)
        if stand_in in found.names:
            out[:, k] = grades[:, found.names.index(stand_in)]
    return out
