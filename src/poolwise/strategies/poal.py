"""POAL: query a batch that no other batch beats both in usefulness and in being of interest.

Source: Zhan, Dai, Wang, Li, Xiong, Dou & Chan, "Pareto Optimization for Active Learning under Out-of-Distribution
Data Scenarios", TMLR 2023, arXiv:2207.01190.
Differs from the paper: the front of batches is computed rather than hit by random subsets (search="monte_carlo" is
the paper's way, with the objectives scaled for early stopping and an archive that is a front); features are the
pool's embeddings, one layer, without input perturbation; the public code's sign of the second objective is wrong and
is not followed.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from poolwise.errors import InputError, OptionError
from poolwise.kernels.blocks import load_rows
from poolwise.kernels.gaussians import fit_gaussians
from poolwise.kernels.sampling import stream_scores
from poolwise.kernels.scores import entropy
from poolwise.ood.pareto import Front, choose_by_overlap, choose_knee, monte_carlo_front, pareto_front, peel
from poolwise.registry import strategy
from poolwise.types import FloatArray, IndexArray, Picks, Rows

MOST_DRAWS = 100_000
"""The paper draws B times the number of candidates, which is out of reach for large batches."""


@strategy(
    "poal",
    family="open set",
    paper="arXiv:2207.01190",
    cost="one pass, then B picks out of the items that matter",
    use_when="The pool holds items of no class of yours, and uncertainty alone would ask for them.",
)
def poal(
    probs: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    embeddings: Rows | None = None,
    labels: IndexArray | None = None,
    ood_scores: FloatArray | None = None,
    *,
    batch_size: int,
    rng: np.random.Generator,
    search: Literal["exact", "monte_carlo"] = "exact",
    choice: Literal["overlap", "knee"] = "overlap",
    pre_select: float = 6.0,
    draws: int | None = None,
    early_stopping: bool = True,
    without_labels: Literal["refuse", "uniform"] = "refuse",
) -> Picks:
    """Choose among the batches that are Pareto-optimal for summed entropy and summed confidence of being of interest.

    Parameters
    ----------
    probs : (N, C) class probabilities
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted
    embeddings : (N, D) features for the Mahalanobis distance to the labeled classes; not needed with `ood_scores`
    labels : (N,) int64, -1 where unlabeled; not needed with `ood_scores`
    ood_scores : (N,) float, higher = more foreign; replaces the Mahalanobis distance
    batch_size : B, 1 <= B <= U
    rng : draws the subsets of the random search
    search : "exact", or "monte_carlo" as in the paper
    choice : which batch of the front: "overlap" shares most items with the others, "knee" is farthest above the line
        between the extremes
    pre_select : for the random search, keep whole item-level fronts until they hold so many times B items, >= 1
    draws : subsets drawn by the random search at most; default B x candidates, but no more than 100,000
    early_stopping : end the random search when the front stops moving
    without_labels : "uniform" counts all items as equally of interest while nothing tells, which leaves the entropy

    Returns
    -------
    Picks, the most useful first; scores are the entropies, components `usefulness` and `confidence`; notes say how
    large the front was and whether it is the whole one, and how many classes have no label and so no mean.

    Raises
    ------
    InputError
        If there are neither `ood_scores` nor labels with embeddings: then nothing tells what is of interest.

    Notes
    -----
    Time O(U (C D + D^2) + U log B); memory O(U) and at most 32 MB of subsets.
    """
    if pre_select < 1 or (draws is not None and draws < 1):
        raise OptionError(f"poal: pre_select and draws must be at least 1; got {pre_select} and {draws}.")
    useful = stream_scores(entropy, {"probs": probs}, unlabeled)
    if ood_scores is None and not len(labeled) and without_labels == "uniform":
        ood_scores = np.zeros(len(probs))
    sure = _confidence(embeddings, labels, labeled, unlabeled, ood_scores)
    notes: dict[str, object] = {}
    if batch_size == len(unlabeled):
        chosen = np.arange(len(unlabeled))
    elif search == "exact":
        front = pareto_front(useful, sure, batch_size)
        chosen = front.members[_choose(front, choice)]
        notes = {"front_size": len(front), "front_is_whole": front.exact}
    else:
        kept = _pre_selected(useful, sure, pre_select * batch_size)
        most = min(MOST_DRAWS, batch_size * len(kept)) if draws is None else draws
        found = monte_carlo_front(useful[kept], sure[kept], batch_size, rng, draws=most, early_stopping=early_stopping)
        chosen = kept[found.front.members[_choose(found.front, choice)]]
        notes = {"front_size": len(found.front), "draws": found.draws, "stopped_early": found.stopped_early}
    if ood_scores is None:
        notes["classes_without_label"] = int(probs.shape[1]) - len(np.unique(np.asarray(labels)[labeled]))
    chosen = chosen[np.lexsort((chosen, -sure[chosen], -useful[chosen]))]
    return Picks(
        unlabeled[chosen],
        useful[chosen],
        {"usefulness": useful[chosen], "confidence": sure[chosen]},
        notes,
    )


def _confidence(
    embeddings: Rows | None,
    labels: IndexArray | None,
    labeled: IndexArray,
    unlabeled: IndexArray,
    ood_scores: FloatArray | None,
) -> FloatArray:
    """How surely each unlabeled item is of interest, (U,) float64 >= 0."""
    if ood_scores is not None:
        foreign = load_rows(ood_scores, unlabeled, np.float64)
    elif embeddings is None or labels is None or not len(labeled):
        raise InputError(
            "poal needs ood_scores (N,), or embeddings and labels of some items, to tell what is of interest; got "
            f"{len(labeled)} labeled items. Label some first, pass ood_scores=..., or without_labels='uniform'."
        )
    else:
        model = fit_gaussians(load_rows(embeddings, labeled, np.float64), np.asarray(labels)[labeled])
        foreign = model.nearest(embeddings, unlabeled) / (2 * embeddings.shape[1])
    return np.asarray(foreign.max() - foreign)


def _pre_selected(useful: FloatArray, sure: FloatArray, at_least: float) -> IndexArray:
    """Positions, ascending, of whole item-level fronts until they hold enough items."""
    layer = peel(useful, sure)
    held = np.cumsum(np.bincount(layer))
    last = int(np.searchsorted(held, min(at_least, len(useful))))
    return np.flatnonzero(layer <= last)


def _choose(front: Front, choice: str) -> int:
    return choose_by_overlap(front) if choice == "overlap" else choose_knee(front)
