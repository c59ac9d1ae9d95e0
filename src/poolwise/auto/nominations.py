"""What several strategies would ask for, side by side: each runs once, and its choice becomes graded nominations.

Source: Wang et al., "AutoAL: Automated Active Learning with Differentiable Query Strategy Search", ICML 2025, section
3 (candidates nominate items).
Differs from the paper: nominations are graded by rank, so that their order counts; equal candidates are merged; items
are joined by pool index, never by position.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import rankdata

from poolwise.errors import ArrayMissingError, InputError, MissingExtraError, OptionError
from poolwise.query import build_context, run_strategy
from poolwise.registry import STRATEGIES
from poolwise.types import FloatArray, IndexArray, Selection

CANDIDATES = ("margin", "entropy", "badge", "typiclust", "maxherding", "cluster_margin", "kmeans")
"""One of each kind; those that cannot run are left out."""

CANNOT_RUN = (ArrayMissingError, InputError, MissingExtraError)
"""What a candidate raises that cannot run on what is there."""

LOWEST = 0.5
"""Grade of the last item a candidate nominates; the first has 1, others 0."""

SAME = 0.999
"""Candidates whose grades have at least this rank correlation are one."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What a strategy may look at: the arrays that are there, and the state.

    arrays : name -> array, without those that are missing
    labels : (N,) int64, -1 where unlabeled, or None
    """

    labeled: IndexArray
    unlabeled: IndexArray
    labels: IndexArray | None
    arrays: Mapping[str, Any]

    @property
    def y(self) -> IndexArray:
        """(L,) classes of the labeled items; empty without labels."""
        return self.labeled[:0] if self.labels is None else self.labels[self.labeled]


def situation(labeled: IndexArray, unlabeled: IndexArray, labels: IndexArray | None, **arrays: Any) -> Situation:
    """Keep the arrays that are there."""
    return Situation(labeled, unlabeled, labels, {name: value for name, value in arrays.items() if value is not None})


def ask(now: Situation, name: str, count: int, seed: int, **options: Any) -> Selection:
    """Let one strategy choose.

    Raises
    ------
    UnknownNameError, OptionError
        If there is no such strategy, or it reads true labels, or it chooses among strategies itself.
    ArrayMissingError, InputError
        If it cannot run on what is there.
    """
    spec = STRATEGIES[name]
    if spec.oracle or spec.family == "selector":
        raise OptionError(f"candidate {name!r} reads true labels or is itself a choice among strategies; remove it.")
    context = build_context(
        spec, now.arrays, labeled=now.labeled, unlabeled=now.unlabeled, labels=now.labels, trusted=True
    )
    return run_strategy(spec, context, batch_size=count, seed=seed, options=options)


@dataclass(frozen=True, slots=True)
class Nominations:
    """Items that at least one candidate nominates.

    names : K candidates
    rows : (M,) int64 sorted pool indices
    grades : (M, K); 1 for a candidate's first item down to 0.5 for its last, 0 for items it does not nominate
    left_out : candidate -> why it could not run
    merged : candidate -> the equal one that stands for it
    seconds : that all candidates took
    """

    names: tuple[str, ...]
    rows: IndexArray
    grades: FloatArray
    left_out: Mapping[str, str] = field(default_factory=dict)
    merged: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def stream(self, k: int) -> IndexArray:
        """Items of one candidate, its first choice first."""
        mine = np.flatnonzero(self.grades[:, k])
        return self.rows[mine[np.argsort(-self.grades[mine, k], kind="stable")]]

    def at(self, rows: IndexArray) -> FloatArray:
        """Grades of given items, (len(rows), K); 0 for items nobody nominates."""
        out = np.zeros((len(rows), len(self.names)))
        if len(self.rows):
            place = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
            known = self.rows[place] == rows
            out[known] = self.grades[place[known]]
        return out

    def notes(self) -> dict[str, Any]:
        """Facts for the notes of a batch."""
        out: dict[str, Any] = {"candidates": ", ".join(self.names), "seconds_scoring": round(self.seconds, 3)}
        if self.left_out:
            out["left_out"] = "; ".join(f"{name}: {why}" for name, why in self.left_out.items())
        if self.merged:
            out["merged"] = "; ".join(f"{name} = {other}" for name, other in self.merged.items())
        return out


def nominate(now: Situation, candidates: Sequence[str], count: int, seed: int) -> Nominations:
    """Run every candidate once and put their choices side by side.

    Parameters
    ----------
    now : arrays and state
    candidates : names of strategies; repeated names count once
    count : items each nominates, 1 <= count <= U
    seed : of every candidate, so that one more candidate changes no other

    Returns
    -------
    Nominations of the candidates that can run; if none can, those of `random`.

    Raises
    ------
    UnknownNameError, OptionError
        If a candidate is none.
    """
    start = time.perf_counter()
    chosen: dict[str, IndexArray] = {}
    left_out: dict[str, str] = {}
    for name in dict.fromkeys(candidates):
        try:
            chosen[name] = ask(now, name, count, seed).indices
        except OptionError:
            raise
        except CANNOT_RUN as error:
            left_out[name] = str(error).split(";")[0]
    if not chosen:
        chosen["random"] = ask(now, "random", count, seed).indices
    rows = np.unique(np.concatenate(list(chosen.values())))
    grades = np.zeros((len(rows), len(chosen)))
    for k, indices in enumerate(chosen.values()):
        grades[np.searchsorted(rows, indices), k] = np.linspace(1, LOWEST, len(indices))
    names = tuple(chosen)
    merged = _equals(names, grades)
    kept = [k for k, name in enumerate(names) if name not in merged]
    spent = time.perf_counter() - start
    return Nominations(tuple(names[k] for k in kept), rows, grades[:, kept], left_out, merged, spent)


def _equals(names: Sequence[str], grades: FloatArray) -> dict[str, str]:
    """Later candidates that grade as an earlier one does."""
    ranks = rankdata(grades, axis=0)
    ranks -= ranks.mean(axis=0)
    length = np.sqrt((ranks**2).sum(axis=0))
    same = ranks.T @ ranks >= SAME * np.outer(length, length)  # (K, K)
    merged: dict[str, str] = {}
    for k, name in enumerate(names):
        for other in range(k):
            if same[k, other] and names[other] not in merged:
                merged[name] = names[other]
                break
    return merged
