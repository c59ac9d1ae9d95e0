"""k-means and nearest neighbours against scikit-learn and faiss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.speed import checks
from benchmarks.speed.case import Case, Check, Trial
from benchmarks.speed.data import rows
from poolwise.chance import rng_for
from poolwise.kernels.clustering import kmeans
from poolwise.kernels.neighbors import knn
from poolwise.types import FloatArray, IndexArray

ITERATIONS = 20
COMPACT = 0.98
"""Least compactness beside the peer's. Each is the local optimum of one random start: over eight seeds of 10,000 rows
starts differ by up to 0.6 %, and scikit-learn, which tries six rows for each centre, ends 0.9 % (structured) and 0.1 %
(isotropic) more compact on average.
"""


def _sklearn_kmeans(x: FloatArray, k: int) -> Callable[[], FloatArray]:
    from sklearn.cluster import KMeans

    model = KMeans(k, n_init=1, max_iter=ITERATIONS, tol=0, random_state=0)
    return lambda: model.fit(x).cluster_centers_


def _faiss_kmeans(x: FloatArray, k: int) -> Callable[[], FloatArray]:
    import faiss

    def run() -> FloatArray:
        model = faiss.Kmeans(x.shape[1], k, niter=ITERATIONS, max_points_per_centroid=len(x), seed=0)
        model.train(x)
        model.assign(x)
        return np.asarray(model.centroids)

    return run


def _inertia(x: FloatArray, centres: FloatArray) -> float:
    total = 0.0
    for start in range(0, len(x), 4096):
        block = x[start : start + 4096].astype(np.float64)
        squares = (block**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2 * block @ centres.T
        total += float(squares.min(axis=1).sum())
    return total


def kmeans_trial(peer: str, *, data: str, n: int, d: int, k: int) -> Trial:
    """20 iterations over all rows and one assignment."""
    x = rows(data, n, d)
    everything = np.arange(n)

    def fast() -> FloatArray:
        found = kmeans(x, everything, k, rng_for(0, "k-means"), iterations=ITERATIONS, rows_per_cluster=n)
        return np.asarray(found.centres)

    def check(ours: Any, theirs: Any) -> Check:
        return checks.at_least(1 / _inertia(x, ours), 1 / _inertia(x, theirs), COMPACT, "compactness")

    return Trial(fast, (_sklearn_kmeans if peer == "sklearn" else _faiss_kmeans)(x, k), check)


def _sklearn_knn(x: FloatArray, k: int) -> Callable[[], IndexArray]:
    from sklearn.neighbors import NearestNeighbors

    return lambda: NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors(return_distance=False)


def _faiss_knn(x: FloatArray, k: int) -> Callable[[], IndexArray]:
    import faiss

    def run() -> IndexArray:
        index = faiss.IndexFlatL2(x.shape[1])
        index.add(x)
        return np.asarray(index.search(x, k + 1)[1])[:, 1:]

    return run


def knn_trial(peer: str, *, data: str, n: int, d: int, k: int) -> Trial:
    """The k nearest other rows of every row, exactly."""
    x = rows(data, n, d)
    everything = np.arange(n)

    def check(ours: Any, theirs: Any) -> Check:
        hits = np.mean([len(np.intersect1d(a, b)) for a, b in zip(ours, theirs, strict=True)])
        return Check(bool(hits >= 0.999 * k), f"{hits / k:.3%} of the same neighbours")

    return Trial(
        fast=lambda: knn(x, everything, k, rng_for(0, "knn"), method="exact").positions,
        peer=(_sklearn_knn if peer == "sklearn" else _faiss_knn)(x, k),
        check=check,
    )


def _cases() -> list[Case]:
    cases = []
    for data in ("structured", "isotropic"):
        for peer, label, low in (("sklearn", "scikit-learn KMeans", 3.0), ("faiss", "faiss Kmeans", 1 / 1.2)):
            for n in (10_000, 50_000):

                def build(peer: str = peer, **size: Any) -> Trial:
                    return kmeans_trial(peer, **size)

                cases.append(
                    Case(
                        name=f"kmeans-{n // 1000}k-{peer}-{data}",
                        task=f"k-means N={n // 1000}k k=100, 20 it.",
                        against=label,
                        required=low,
                        build=build,
                        size={"data": data, "n": n, "d": 512, "k": 100},
                        tiny={"data": data, "n": 400, "d": 16, "k": 5},
                        needs=peer,
                        data=data,
                    )
                )
        for peer, label, low in (("sklearn", "scikit-learn brute", 1.8), ("faiss", "faiss IndexFlatL2", 1 / 1.2)):

            def search(peer: str = peer, **size: Any) -> Trial:
                return knn_trial(peer, **size)

            cases.append(
                Case(
                    name=f"knn-10k-{peer}-{data}",
                    task="kNN-20 N=10k",
                    against=label,
                    required=low,
                    build=search,
                    size={"data": data, "n": 10_000, "d": 512, "k": 20},
                    tiny={"data": data, "n": 300, "d": 16, "k": 5},
                    needs=peer,
                    data=data,
                )
            )
    return cases


CASES = _cases()
