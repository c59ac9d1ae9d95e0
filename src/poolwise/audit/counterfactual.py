"""What random labeling would have given: models trained on audit items alone, judged by the other audit items.

The audit items are a random sample, so some of them are a random training set and the others a
test set for it. Many random splits are averaged. Intervals resample the audit items and the splits
together, which is cautious: in simulations on Fashion-MNIST they covered more often than they promise
(`docs/decisions/audit.md`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from poolwise.stats.extrapolate import fit_power
from poolwise.stats.intervals import Interval
from poolwise.train.learners import Learner, LinearProbe, Model
from poolwise.types import Array, IndexArray

SIZES = 5
"""Sizes of random training sets at which the curve is measured."""
LARGEST = 0.8
"""Part of the audit items in the largest of them."""
FEWEST_ITEMS = 40
"""With fewer audit items there is no curve."""
DRAWS = 2000


@dataclass(frozen=True, slots=True)
class RandomModels:
    """How models trained on random labels did.

    sizes : (m,) labels of their training sets
    right : (J, n, m) whether the model of split j and size k was right on item i
    judged : (J, n) whether item i was outside all training sets of split j
    """

    sizes: IndexArray
    right: NDArray[np.float32]
    judged: NDArray[np.float32]

    def resampled(self, rng: np.random.Generator, draws: int) -> tuple[Array, Array]:
        """Draw weights of items (draws + 1, n) and splits (draws + 1, J); the first of each are all 1."""
        n_splits, n = self.judged.shape
        items = np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), size=draws)])
        splits = rng.multinomial(n_splits, np.full(n_splits, 1 / n_splits), size=draws)
        return items, np.concatenate([np.ones((1, n_splits)), splits])

    def minus(self, now: Array, items: Array, splits: Array) -> Array:
        """Accuracy of each size minus that of one model on the same items: (draws + 1, m)."""
        total = ((splits @ self.judged) * items).sum(axis=1)
        columns = []
        for k in range(len(self.sizes)):
            gap = self.judged * (self.right[:, :, k] - now)
            columns.append(((splits @ gap) * items).sum(axis=1) / np.maximum(total, 1))
        return np.stack(columns, axis=1)


def random_models(
    x: Array,
    y: IndexArray,
    n_classes: int,
    learner: Learner,
    *,
    rng: np.random.Generator,
    seed: int,
    sizes: IndexArray,
    n_splits: int,
) -> RandomModels:
    """Train on random parts of the audit items, and judge on the rest.

    Parameters
    ----------
    x, y : (n, D), (n,) the audit items and their labels
    sizes : (m,) increasing, the largest below n; sizes of one split are nested
    n_splits : J

    Notes
    -----
    J m fits of up to 0.8 n rows. The penalty of a linear probe is chosen once for each size.
    """
    right = np.zeros((n_splits, len(y), len(sizes)), dtype=np.float32)
    judged = np.zeros((n_splits, len(y)), dtype=np.float32)
    quick: dict[int, Learner] = {}
    for j in range(n_splits):
        order = rng.permutation(len(y))
        rest = order[sizes[-1] :]
        judged[j, rest] = 1
        for k, size in enumerate(sizes.tolist()):
            train = order[:size]
            model = quick.get(k, learner).fit(x[train], y[train], n_classes, seed=seed)
            quick.setdefault(k, _with_strength(learner, model))
            right[j, rest, k] = model.probs(x[rest]).argmax(axis=1) == y[rest]
    return RandomModels(sizes, right, judged)


def curve_sizes(n_audit: int) -> IndexArray:
    """Choose the sizes of random training sets: (m,) increasing."""
    first = max(10, round(0.15 * n_audit))
    return np.unique(np.round(np.geomspace(first, LARGEST * n_audit, SIZES)).astype(np.int64))


def labels_needed(
    random: RandomModels, now: NDArray[np.float64], alpha: float, rng: np.random.Generator
) -> tuple[Interval, NDArray[np.float64]]:
    """Find how many random labels reach the accuracy of a model.

    Parameters
    ----------
    now : (n,) whether that model was right on each audit item; it was trained on none of them
    alpha : error of the interval

    Returns
    -------
    Interval of labels (inf where the curve never gets there), and the (draws + 1, m) resampled curves, the
    measured one first.
    """
    items, splits = random.resampled(rng, DRAWS)
    level = (items @ now) / items.sum(axis=1)
    curves = random.minus(now, items, splits) + level[:, None]
    sizes = random.sizes.astype(np.float64)
    needed = fit_power(sizes, curves, weights=sizes).labels_to(level)
    low, high = np.quantile(needed[1:], [alpha / 2, 1 - alpha / 2], method="inverted_cdf")
    unseen = unseen_share(len(now), alpha)
    measured = fit_power(sizes, curves[:1], weights=sizes)
    low = min(float(low), float(measured.labels_to(level[0] - unseen)[0]))
    high = max(float(high), float(measured.labels_to(level[0] + unseen)[0]))
    return Interval(float(needed[0]), low, high, 1 - alpha, len(now)), curves


def benefit(random: RandomModels, strategy: NDArray[np.float64], alpha: float, rng: np.random.Generator) -> Interval:
    """Accuracy of a model trained on the strategy's picks minus that of the last size of random training sets."""
    items, splits = random.resampled(rng, DRAWS)
    gaps = -random.minus(strategy, items, splits)[:, -1]
    return widened(gaps, alpha, len(strategy))


def widened(draws: Array, alpha: float, n: int) -> Interval:
    """Make the interval of resampled differences of two shares, the measured one first.

    It is never narrower than what n items can show, and within -1 and 1.
    """
    low, high = np.quantile(draws[1:], [alpha / 2, 1 - alpha / 2])
    mean, unseen = float(draws[0]), unseen_share(n, alpha)
    low, high = max(-1.0, min(float(low), mean - unseen)), min(1.0, max(float(high), mean + unseen))
    return Interval(mean, low, high, 1 - alpha, n)


def unseen_share(n: int, alpha: float) -> float:
    """Share of items on which models may differ although none of n did: resampling cannot show what was not seen."""
    return float(1 - (alpha / 2) ** (1 / n))


def _with_strength(learner: Learner, model: Model) -> Learner:
    """Make the learner that repeats fits without searching the penalty again or calibrating what only ranks."""
    strength = getattr(model, "strength", None)
    if not isinstance(learner, LinearProbe) or strength is None:
        return learner
    return LinearProbe(replace(learner.settings, strength=strength, calibrate=False))
