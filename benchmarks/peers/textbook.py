"""The algorithms as textbooks and papers state them, written plainly: what a careful reader would type first.

They stand in for research code. Each is NumPy only, works in the dtype of its input and takes arrays in memory.
"""

from __future__ import annotations

import numpy as np

from poolwise.types import FloatArray, IndexArray


def k_center_columns(x: FloatArray, labeled: IndexArray, count: int) -> IndexArray:
    """As Emam et al.'s public code is described to do it: all (N, N) squared distances first, then for each pick the
    columns of all centres are read anew.

    Time O(N^2 D + N (L + B) B), memory three or four arrays of N^2.
    """
    norms = (x * x).sum(axis=1)
    distance = norms[:, None] + norms - 2 * (x @ x.T)
    chosen = labeled.tolist()
    for _ in range(count):
        gap = distance[:, chosen].min(axis=1)
        gap[chosen] = -np.inf
        chosen.append(int(gap.argmax()))
    return np.array(chosen[len(labeled) :])


def k_center_matrix(x: FloatArray, labeled: IndexArray, count: int) -> IndexArray:
    """The same from one (N, N) matrix of distances, of which each pick takes the rows left and the columns chosen."""
    norms = (x * x).sum(axis=1)
    distance = norms[:, None] + norms - 2 * x @ x.T  # (N, N)
    np.maximum(distance, 0, out=distance)
    np.sqrt(distance, out=distance)
    chosen = np.zeros(len(x), dtype=bool)
    chosen[labeled] = True
    picks = []
    for _ in range(count):
        left = np.flatnonzero(~chosen)
        gap = distance[np.ix_(left, np.flatnonzero(chosen))].min(axis=1)
        picks.append(int(left[gap.argmax()]))
        chosen[picks[-1]] = True
    return np.array(picks)


def k_center_loop(x: FloatArray, labeled: IndexArray, count: int) -> tuple[IndexArray, FloatArray]:
    """The fast plain loop: lengths and the smallest distance are kept, one matrix-vector product a pick.

    Returns the picks and the distance of each to its nearest centre. Time O(N D (L + B)).
    """
    norms = np.einsum("ij,ij->i", x, x)
    gap = np.full(len(x), np.inf, dtype=x.dtype)
    for c in labeled:
        np.minimum(gap, norms + norms[c] - 2 * (x @ x[c]), out=gap)
    gap[labeled] = -np.inf
    picks, radius = [], []
    for _ in range(count):
        c = int(gap.argmax())
        picks.append(c)
        radius.append(gap[c])
        np.minimum(gap, norms + norms[c] - 2 * (x @ x[c]), out=gap)
        gap[c] = -np.inf
    return np.array(picks), np.sqrt(np.array(radius))


def badge_built(probs: FloatArray, h: FloatArray, count: int, rng: np.random.Generator) -> IndexArray:
    """Ash et al. 2020, Algorithm 1: build the (N, C D) gradients, then k-means++ seeding with plain differences."""
    e = probs.copy()
    e[np.arange(len(e)), probs.argmax(axis=1)] -= 1
    g = (e[:, :, None] * h[:, None, :]).reshape(len(e), -1)  # (N, C D)
    picks = [int((g * g).sum(axis=1).argmax())]
    gap = np.full(len(g), np.inf, dtype=g.dtype)
    while len(picks) < count:
        np.minimum(gap, ((g - g[picks[-1]]) ** 2).sum(axis=1), out=gap)
        gap[picks] = 0
        weights = gap.astype(np.float64)
        picks.append(int(rng.choice(len(g), p=weights / weights.sum())))
    return np.array(picks)


def badge_factored(probs: FloatArray, h: FloatArray, count: int, rng: np.random.Generator) -> IndexArray:
    """The same without building gradients, <g_i, g_j> = <e_i, e_j> <h_i, h_j>: one pass over the pool a pick."""
    e = probs.copy()
    e[np.arange(len(e)), probs.argmax(axis=1)] -= 1
    lengths = np.einsum("ij,ij->i", e, e) * np.einsum("ij,ij->i", h, h)
    picks = [int(lengths.argmax())]
    gap = np.full(len(e), np.inf)
    while len(picks) < count:
        c = picks[-1]
        np.minimum(gap, np.maximum(lengths + lengths[c] - 2 * (e @ e[c]) * (h @ h[c]), 0), out=gap)
        gap[picks] = 0
        cumulative = np.cumsum(gap)
        draw = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        picks.append(min(draw, len(e) - 1))
    return np.array(picks)


def potential(probs: FloatArray, h: FloatArray, picks: IndexArray) -> float:
    """Sum over all rows of the squared distance of the gradient to the nearest picked one."""
    e = probs.astype(np.float64)
    e[np.arange(len(e)), probs.argmax(axis=1)] -= 1
    x = h.astype(np.float64)
    lengths = (e * e).sum(axis=1) * (x * x).sum(axis=1)
    to_picks = lengths[:, None] + lengths[picks] - 2 * (e @ e[picks].T) * (x @ x[picks].T)
    return float(np.maximum(to_picks, 0).min(axis=1).sum())


def boundary_distances(x: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    """Distance of each row to its nearest decision boundary, row by row: |z_k - z_j| / |w_k - w_j|, least over j."""
    out = np.empty(len(x), dtype=x.dtype)
    for i, row in enumerate(x):
        z = weight @ row + bias
        k = int(z.argmax())
        gaps = np.sqrt(((weight[k] - weight) ** 2).sum(axis=1))  # (C,)
        others = np.arange(len(z)) != k
        out[i] = ((z[k] - z[others]) / gaps[others]).min()
    return out


def boundary_displacements(x: FloatArray, weight: FloatArray, bias: FloatArray, at_once: int = 128) -> FloatArray:
    """The same as Emam et al.'s public code is described to do it: by the displacement of each row to each boundary.

    For a batch of rows the differences w_k - w_j are one (B, C, D) array; the displacement to a boundary is
    (z_k - z_j) / |w_k - w_j|^2 times that difference, another such array, and its length is the distance. Arrays of
    1.05 GB at C = 1000 and D = 2048 make B = 128.
    """
    out = np.empty(len(x), dtype=x.dtype)
    for start in range(0, len(x), at_once):
        rows = x[start : start + at_once]
        z = rows @ weight.T + bias
        k = z.argmax(axis=1)
        every = np.arange(len(rows))
        difference = weight[k][:, None, :] - weight  # (B, C, D)
        gaps = z[every, k][:, None] - z
        with np.errstate(invalid="ignore"):  # 0 / 0 for the predicted class
            scale = gaps / (difference**2).sum(axis=2)
        displacement = scale[:, :, None] * difference  # (B, C, D)
        distance = np.sqrt((displacement**2).sum(axis=2))
        distance[np.isnan(distance)] = np.inf
        out[start : start + at_once] = distance.min(axis=1)
    return out


def greedy_dpp_cholesky(x: FloatArray, count: int) -> IndexArray:
    """Chen, Zhang & Zhou, NeurIPS 2018, Algorithm 1: greedy MAP with one (N,) Cholesky row a pick, linear kernel."""
    residual = np.einsum("ij,ij->i", x, x)
    rows = np.empty((count, len(x)), dtype=x.dtype)
    picks: list[int] = []
    while len(picks) < count:
        j = int(residual.argmax())
        t = len(picks)
        rows[t] = (x @ x[j] - rows[:t, j] @ rows[:t]) / np.sqrt(residual[j])
        residual -= rows[t] ** 2
        residual[j] = -np.inf
        picks.append(j)
    return np.array(picks)
