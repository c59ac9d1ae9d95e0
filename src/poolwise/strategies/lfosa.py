"""LfOSA: query the items that most surely belong to a known class.

Source: Ning, Zhao, Li & Huang, "Active Learning for Open-set Annotation", CVPR 2022, section 3 (detector with one more
output for the unknown, two-component mixture of the largest activation in each predicted class).
Differs from the paper: the detector is a linear discriminant on the features, fitted in closed form on labeled and
rejected items, where the paper trains a network; its temperature then changes nothing and is left out. `informative`
is ours: purity alone finds known items, not useful ones.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import InputError, OptionError
from poolwise.kernels.blocks import iter_blocks, load_rows
from poolwise.kernels.gaussians import fit_gaussians
from poolwise.kernels.sampling import best_first, stream_scores
from poolwise.kernels.scores import margin
from poolwise.registry import strategy
from poolwise.types import BoolArray, FloatArray, IndexArray, Picks, Rows

STEPS = 50
SMALLEST_SPREAD = 1e-6
"""Floor of a component's variance, as a share of that of all values."""


@strategy(
    "lfosa",
    family="open set",
    paper="arXiv:2201.06758",
    cost="one pass",
    use_when="Most of the pool is of no interest, and annotators have rejected some of it.",
)
def lfosa(
    embeddings: Rows,
    labels: IndexArray,
    labeled: IndexArray,
    unlabeled: IndexArray,
    foreign: BoolArray | None = None,
    probs: Rows | None = None,
    *,
    batch_size: int,
    informative: float | None = None,
) -> Picks:
    """Take the items of highest probability to be of a known class, by a mixture in each predicted class.

    Parameters
    ----------
    embeddings : (N, D) features
    labels : (N,) int64, -1 where unlabeled
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted
    foreign : (N,) bool, items rejected by annotators; they train the output for the unknown
    probs : (N, C) class probabilities, needed for `informative`
    batch_size : B, 1 <= B <= U
    informative : keep so many times B of the surest items, then take those of smallest margin, >= 1

    Returns
    -------
    Picks; scores and component `purity` are the probability to be known (0 where the unknown is predicted), component
    `activation` the largest output of a known class.

    Raises
    ------
    InputError
        If nothing is labeled.
    OptionError
        If `informative` is below 1, or given without probabilities.

    Notes
    -----
    Time O(U (C D + D^2)), memory O(U).
    """
    if informative is not None and (informative < 1 or probs is None):
        raise OptionError(f"lfosa: informative must be at least 1 and needs probs; got {informative}.")
    if not len(labeled):
        raise InputError("lfosa needs labeled items of the known classes; got none. Label some first.")
    y = np.asarray(labels)[labeled]
    rejected = labeled[:0] if foreign is None else np.flatnonzero(foreign)
    x = load_rows(embeddings, np.concatenate([labeled, rejected]), np.float64)
    n_known = len(np.unique(y))
    model = fit_gaussians(x, np.concatenate([y, np.full(len(rejected), y.max() + 1)]))
    predicted, activation = np.empty(len(unlabeled), dtype=np.int64), np.empty(len(unlabeled))
    for start, block in iter_blocks(embeddings, unlabeled, dtype=np.float64):
        d = model.sq_distances(block)
        here = slice(start, start + len(block))
        predicted[here], activation[here] = d.argmin(axis=1), -d[:, :n_known].min(axis=1) / 2
    purity = np.zeros(len(unlabeled))
    for c in range(n_known):
        inside = predicted == c
        purity[inside] = upper_component(activation[inside])
    order = np.lexsort((unlabeled, -activation, -purity))
    if informative is not None and probs is not None:
        kept = np.sort(order[: min(len(order), round(informative * batch_size))])
        order = kept[best_first(stream_scores(margin, {"probs": probs}, unlabeled[kept]), unlabeled[kept], batch_size)]
    chosen = order[:batch_size]
    return Picks(
        unlabeled[chosen],
        purity[chosen],
        {"purity": purity[chosen], "activation": activation[chosen]},
        {"rejected": len(rejected)},
    )


def upper_component(values: FloatArray) -> FloatArray:
    """Probability (n,) of each value to come from the component of higher mean in a mixture of two Gaussians.

    Expectation maximisation from the lower and the upper half; without spread, or for fewer than 2 values, 1 for all.
    """
    spread = float(values.var()) if len(values) > 1 else 0.0
    if spread <= 0:
        return np.ones(len(values))
    ordered = np.sort(values)
    half = len(values) // 2
    mean = np.array([ordered[:half].mean(), ordered[half:].mean()])
    variance, weight = np.full(2, spread), np.full(2, 0.5)
    share = np.ones((len(values), 2)) / 2
    for _ in range(STEPS):
        log = np.log(weight) - 0.5 * np.log(variance) - 0.5 * np.square(values[:, None] - mean) / variance
        share = np.exp(log - log.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        total = share.sum(axis=0) + 1e-12
        mean = share.T @ values / total
        variance = np.maximum((share * np.square(values[:, None] - mean)).sum(axis=0) / total, SMALLEST_SPREAD * spread)
        weight = total / total.sum()
    return np.asarray(share[:, int(mean.argmax())])
