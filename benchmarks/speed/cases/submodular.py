"""Greedy k-DPP and facility location."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers import packages, textbook
from benchmarks.speed import checks
from benchmarks.speed.case import Case, Check, Trial
from benchmarks.speed.data import rows
from poolwise.kernels.submodular import DenseSimilarity, PairSimilarity, facility_location, greedy_k_dpp
from poolwise.types import FloatArray, IndexArray


def dpp(*, data: str, n: int, d: int, b: int) -> Trial:
    """Greedy MAP of a k-DPP; the peer works in float64 as poolwise does, so the order must be the same."""
    x = rows(data, n, d)
    wide = x.astype(np.float64)
    return Trial(
        fast=lambda: greedy_k_dpp(x, np.arange(n), b).indices,
        peer=lambda: textbook.greedy_dpp_cholesky(wide, b),
        check=checks.same_order,
    )


def _cosines(x: FloatArray) -> FloatArray:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T)


def _ours(x: FloatArray, b: int) -> IndexArray:
    return facility_location(DenseSimilarity(PairSimilarity(x, "cosine")), b)[0]


def _ours_squared(x: FloatArray, b: int) -> IndexArray:
    """What apricot calls "cosine" is its square."""
    return facility_location(DenseSimilarity(_cosines(x) ** 2), b)[0]


def facility(peer: str, *, data: str, n: int, d: int, b: int) -> Trial:
    """Cover all rows with b of them, by cosine similarity, similarities included in the time."""
    x = rows(data, n, d)
    squared = peer == "apricot"

    def check(ours: Any, theirs: Any) -> Check:
        covers = _cosines(x) ** 2 if squared else np.maximum(_cosines(x), 0)
        ours_covered, theirs_covered = (float(covers[p].max(axis=0).sum(dtype=np.float64)) for p in (ours, theirs))
        return checks.at_least(ours_covered, theirs_covered, 0.9999, "coverage")

    return Trial(
        fast=lambda: (_ours_squared if squared else _ours)(x, b),
        peer={"apricot": packages.apricot, "submodlib": packages.submodlib}[peer](x, b),
        check=check,
    )


def _cases() -> list[Case]:
    cases = []
    for data in ("structured", "isotropic"):
        cases.append(
            Case(
                name=f"dpp-20k-{data}",
                task="greedy k-DPP N=20k k=300",
                against="N x k Cholesky greedy (float64)",
                required=5,
                build=dpp,
                size={"data": data, "n": 20_000, "d": 512, "b": 300},
                tiny={"data": data, "n": 200, "d": 40, "b": 12},
                data=data,
            )
        )
        for peer, label, required in (("apricot", "apricot-select", 10), ("submodlib", "submodlib-py", 6)):

            def build(peer: str = peer, **size: Any) -> Trial:
                return facility(peer, **size)

            cases.append(
                Case(
                    name=f"facility-2k-{peer}-{data}",
                    task="facility location N=2k b=100",
                    against=label,
                    required=required,
                    build=build,
                    size={"data": data, "n": 2000, "d": 512, "b": 100},
                    tiny={"data": data, "n": 120, "d": 16, "b": 8},
                    needs=peer,
                    data=data,
                )
            )
    return cases


CASES = _cases()
