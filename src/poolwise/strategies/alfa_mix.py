"""ALFA-Mix: keep items whose predicted class a small step towards labeled features would change, and cluster them.

Source: Parvaneh et al., "Active Learning by Feature Mixing", CVPR 2022, equations 5 to 8.
Differs from the paper: the step of the closed form, h + eps |a_c - h| g / |g|, is followed exactly. For a linear head
the class changes once along that ray, at a length t* that has a closed form, so no loop over anchors is needed and
coordinates where anchor and item agree cause no 0 / 0. Where too few items pass, the step is taken just long enough.
"""

from __future__ import annotations

import numpy as np

from poolwise.errors import ArrayMissingError, OptionError
from poolwise.kernels.blocks import iter_blocks, softmax_in_place
from poolwise.kernels.distances import UnitRows, sq_distances
from poolwise.kernels.middles import middles
from poolwise.kernels.sampling import best_first, stream_scores
from poolwise.registry import strategy
from poolwise.types import Array, FloatArray, IndexArray, Picks, Rows


@strategy(
    "alfa_mix",
    family="hybrid",
    paper="arXiv:2203.07034",
    cost="one pass of three products with the head, then k-means with B clusters",
    use_when="Few labels, a linear head, and every class seen: it looks for features the head has not met.",
    device=("D2 distances",),
)
def alfa_mix(
    embeddings: Rows,
    logits: Rows,
    head_weight: Array,
    labels: Array,
    labeled: IndexArray,
    unlabeled: IndexArray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    step: float | None = None,
) -> Picks:
    """Cluster the items whose class flips within the step, and take one of each cluster.

    Parameters
    ----------
    embeddings : (N, D) features that the head gets
    logits : (N, C) of the linear head
    head_weight : (C, D)
    labels : (N,) int64, -1 where unlabeled; class means of the labeled items are the anchors
    labeled, unlabeled : (L,), (U,) int64 pool indices, sorted
    batch_size : B, 1 <= B <= U
    rng : seeds the clusters, fills up
    step : eps > 0, length of the step relative to the distance of the anchor; default 0.2 / sqrt(D)

    Returns
    -------
    Picks; scores are the reciprocal of the smallest eps that flips the class, infinite on a boundary.

    Raises
    ------
    ArrayMissingError
        If nothing is labeled: there are no anchors.
    OptionError
        If step is not above 0.

    Notes
    -----
    Time 4 U D C + U D (anchors), then k-means on the candidates. Memory O(U) and one block.
    """
    if not len(labeled):
        raise ArrayMissingError("alfa_mix needs labels of some items for its anchors; got none. Use typiclust first.")
    eps = 0.2 / np.sqrt(embeddings.shape[1]) if step is None else step
    if not eps > 0:
        raise OptionError(f"alfa_mix: step must be above 0; got {step}.")
    weight = np.asarray(head_weight, dtype=np.float64)
    anchors = class_means(embeddings, labeled, np.asarray(labels)[labeled])

    def score(embeddings: FloatArray, logits: FloatArray) -> FloatArray:
        return flip_scores(embeddings, logits, weight, anchors)

    scores = stream_scores(score, {"embeddings": embeddings, "logits": logits}, unlabeled)
    order = best_first(scores, unlabeled, len(unlabeled))
    n_flips, n_could = int((scores * eps > 1).sum()), int((scores > 0).sum())
    if n_could < batch_size:
        rest = rng.permutation(order[n_could:])
        chosen = np.concatenate([order[:n_could], rest[: batch_size - n_could]])
    else:
        candidates = np.sort(order[: max(batch_size, n_flips)])
        chosen = candidates[middles(UnitRows(embeddings), unlabeled[candidates], batch_size, rng)[0]]
    notes = {"step": float(eps), "candidates": n_flips}
    return Picks(unlabeled[chosen], scores[chosen], {"flips": scores[chosen] * eps > 1}, notes)


def class_means(rows: Rows, labeled: IndexArray, classes: IndexArray) -> FloatArray:
    """Mean labeled row of each class that has one, (A, D) float64."""
    present, number = np.unique(classes, return_inverse=True)
    sums = np.zeros((len(present), rows.shape[1]))
    for start, block in iter_blocks(rows, labeled, dtype=np.float64):
        np.add.at(sums, number[start : start + len(block)], block)
    return np.asarray(sums / np.bincount(number)[:, None])


def flip_scores(x: FloatArray, z: FloatArray, weight: FloatArray, anchors: FloatArray) -> FloatArray:
    """Distance of the farthest anchor over the length at which the class changes along the loss gradient, (n,) >= 0."""
    row, top = np.arange(len(z)), z.argmax(axis=1)
    error = softmax_in_place(z.copy())
    error[row, top] -= 1
    gradient = error @ weight  # (n, D)
    length = np.sqrt(np.einsum("ij,ij->i", gradient, gradient))
    rate = gradient @ weight.T  # (n, C), how fast each logit grows
    rate -= rate[row, top][:, None]
    gap = z[row, top][:, None] - z
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(rate > 0, rate / (gap * length[:, None]), 0.0)  # 1 / t*, inf on a boundary
    inverse[row, top] = 0
    far = np.sqrt(sq_distances(x, anchors).max(axis=1))
    nearest = np.nan_to_num(inverse.max(axis=1), nan=0.0, posinf=np.inf)
    out = np.zeros(len(far))
    out[far > 0] = far[far > 0] * nearest[far > 0]
    return out
