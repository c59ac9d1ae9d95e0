"""k-center greedy (core-set) against packages and plain loops. All start from ten labeled rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import poolwise as pw
from benchmarks.peers import packages, textbook
from benchmarks.speed import checks
from benchmarks.speed.case import Case, Check, Trial
from benchmarks.speed.data import rows
from poolwise.types import FloatArray, IndexArray

N_LABELED = 10


def _pool(data: str, n: int, d: int) -> tuple[FloatArray, IndexArray]:
    return rows(data, n, d), np.arange(n - N_LABELED, n)


def against_package(query: Callable[..., packages.Query], *, data: str, n: int, d: int, b: int) -> Trial:
    """The whole batch by a package."""
    x, labeled = _pool(data, n, d)
    return Trial(
        fast=lambda: pw.select("coreset", embeddings=x, labeled=labeled, batch_size=b).indices,
        peer=query(x, N_LABELED, b),
        check=checks.same_picks,
    )


def by_slope(
    query: Callable[..., packages.Query], *, data: str, n: int, d: int, b: int, picks: tuple[int, int]
) -> Trial:
    """A few picks of a peer, extended to the batch by the time of each further pick."""
    x, labeled = _pool(data, n, d)
    return Trial(
        fast=lambda: pw.select("coreset", embeddings=x, labeled=labeled, batch_size=b).indices,
        peer=query(x, N_LABELED, picks[1]),
        shorter=query(x, N_LABELED, picks[0]),
        picks=picks,
        target=b,
        check=checks.same_picks,
    )


def _activeml(x: FloatArray, n_labeled: int, count: int) -> packages.Query:
    return packages.activeml_features(x, np.arange(len(x) - n_labeled, len(x)), "CoreSet", count)


def _small_text(x: FloatArray, n_labeled: int, count: int) -> packages.Query:
    return packages.small_text_coreset(x, np.arange(len(x) - n_labeled, len(x)), count)


def _textbook(function: Callable[..., Any]) -> Callable[..., packages.Query]:
    def query(x: FloatArray, n_labeled: int, count: int) -> packages.Query:
        labeled = np.arange(len(x) - n_labeled, len(x))
        return lambda: function(x, labeled, count)

    return query


def _loop_picks(x: FloatArray, labeled: IndexArray, count: int) -> IndexArray:
    return textbook.k_center_loop(x, labeled, count)[0]


def radius_sequence(*, data: str, n: int, d: int, b: int) -> Trial:
    """The whole batch by the fast plain loop; the radius after each pick must agree, too."""
    x, labeled = _pool(data, n, d)

    def check(ours: Any, theirs: Any) -> Check:
        picks, radius = theirs
        return checks.both(
            checks.same_picks(ours.indices, picks),
            checks.close(ours.scores, radius, 1e-5, "radius sequence"),
        )

    return Trial(
        fast=lambda: pw.select("coreset", embeddings=x, labeled=labeled, batch_size=b),
        peer=lambda: textbook.k_center_loop(x.astype(np.float64), labeled, b),
        check=check,
    )


def _case(
    name: str,
    label: str,
    against: str,
    required: float,
    build: Callable[..., Trial],
    query: Callable[..., packages.Query] | None,
    size: dict[str, Any],
    needs: str = "",
    data: str = "structured",
) -> Case:
    def bound(**given: Any) -> Trial:
        return build(**given) if query is None else build(query, **given)

    tiny = {"data": data, "n": 300, "d": 24, "b": 12}
    if "picks" in size:
        tiny["picks"] = (4, 8)
    return Case(
        name=f"kcenter-{name}-{data}",
        task=f"k-center {label}",
        against=against,
        required=required,
        build=bound,
        size={"data": data, "d": 512, **size},
        tiny=tiny,
        needs=needs,
        data=data,
    )


def _cases() -> list[Case]:
    activeml, small = _activeml, _small_text
    columns, matrix = _textbook(textbook.k_center_columns), _textbook(textbook.k_center_matrix)
    loop = _textbook(_loop_picks)
    ten = {"n": 10_000, "b": 100}
    few = {"picks": (8, 24)}
    cases = []
    for data in ("structured", "isotropic"):
        tight = data == "structured"
        cases += [
            _case(
                "10k-activeml",
                "N=10k b=100",
                "scikit-activeml CoreSet",
                12,
                against_package,
                activeml,
                ten,
                "skactiveml",
                data,
            ),
            _case(
                "50k-activeml",
                "N=50k b=100",
                "scikit-activeml CoreSet (from b=10, 20)",
                40,
                by_slope,
                activeml,
                {"n": 50_000, "b": 100, "picks": (10, 20)},
                "skactiveml",
                data,
            ),
            _case("10k-matrix", "N=10k b=100", "textbook, distance matrix", 30, against_package, matrix, ten, "", data),
            _case(
                "10k-columns",
                "N=10k b=100",
                "textbook, columns read anew",
                100,
                against_package,
                columns,
                ten,
                "",
                data,
            ),
            _case(
                "2k-small-text",
                "N=2k b=100",
                "small-text GreedyCoreset",
                50,
                against_package,
                small,
                {"n": 2000, "b": 100},
                "small_text",
                data,
            ),
            _case(
                "50k-loop",
                "N=50k b=1000",
                "plain loop, lengths kept (slope)",
                15 if tight else 10,
                by_slope,
                loop,
                {"n": 50_000, "b": 1000, **few},
                "",
                data,
            ),
        ]
    cases.append(
        _case(
            "200k-loop",
            "N=200k b=2000",
            "plain loop, lengths kept (slope)",
            18,
            by_slope,
            loop,
            {"n": 200_000, "b": 2000, **few},
        )
    )
    for data in ("structured", "isotropic"):
        cases.append(
            _case(
                "radius",
                "N=10k b=500",
                "plain loop in float64 (radius sequence)",
                1,
                radius_sequence,
                None,
                {"n": 10_000, "b": 500},
                "",
                data,
            )
        )
    return cases


CASES = _cases()
