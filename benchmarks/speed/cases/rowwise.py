"""Margin, entropy and least confidence over given probabilities; MASE through a linear head."""

from __future__ import annotations

from typing import Any

import numpy as np

import poolwise as pw
from benchmarks.peers import packages, textbook
from benchmarks.speed import checks
from benchmarks.speed.case import Case, Check, Trial
from benchmarks.speed.data import head, probabilities, rows

PEERS = {
    "baal": ("baal", packages.baal, {"margin": "Margin", "entropy": "Entropy"}),
    "modAL": ("modAL", packages.modal, {"margin": "margin", "entropy": "entropy"}),
    "small-text": ("small_text", packages.small_text, {"margin": "BreakingTies", "entropy": "PredictionEntropy"}),
    "scikit-activeml": (
        "skactiveml",
        packages.activeml_uncertainty,
        {"margin": "margin_sampling", "entropy": "entropy"},
    ),
}


def over_probs(peer: str, strategy: str, *, data: str, n: int, c: int, b: int) -> Trial:
    """Choose b of n rows by their class probabilities."""
    probs = probabilities(data, n, c)
    _, query, methods = PEERS[peer]
    return Trial(
        fast=lambda: pw.select(strategy, probs=probs, batch_size=b).indices,
        peer=query(probs, methods[strategy], b),
        check=checks.same_picks,
        floor=probs.sum,
    )


def bare_read(strategy: str, *, data: str, n: int, c: int, b: int) -> Trial:
    """The sum of all probabilities in place of a peer: no selection takes less time than one read of its array."""
    probs = probabilities(data, n, c)
    return Trial(
        fast=lambda: pw.select(strategy, probs=probs, batch_size=b).indices,
        peer=probs.sum,
        check=lambda ours, theirs: Check(len(np.unique(ours)) == b, "one read: nothing to compare"),
    )


def mase_per_row(*, data: str, n: int, d: int, c: int, b: int, peer_rows: int) -> Trial:
    """MASE against (B, C, D) arrays of displacements; both are counted per row of the pool."""
    x = rows(data, n, d)
    weight, bias = head(x, c)

    def check(ours: Any, theirs: Any) -> Check:
        whole = pw.select("mase", embeddings=x[:peer_rows], head_weight=weight, head_bias=bias, batch_size=peer_rows)
        distance = np.empty(peer_rows)
        distance[whole.indices] = whole.components["distance"]
        exact = textbook.boundary_distances(*(a.astype(np.float64) for a in (x[:peer_rows], weight, bias)))
        return checks.close(distance, exact, 1e-3, "distances")  # float32 has no digits left next to a boundary

    return Trial(
        fast=lambda: pw.select("mase", embeddings=x, head_weight=weight, head_bias=bias, batch_size=b),
        peer=lambda: textbook.boundary_displacements(x[:peer_rows], weight, bias),
        check=check,
        share=peer_rows / n,
    )


def mase_gemm(*, data: str, n: int, d: int, c: int, b: int) -> Trial:
    """MASE against the one matrix product that gives the logits, in blocks, and nothing else.

    With 20,000 rows a sixth of the time goes to the table of |w_k - w_j| and the float64
    distances of the picks, which do not grow with the pool.
    """
    x = rows(data, n, d)
    weight, bias = head(x, c)
    turned = np.ascontiguousarray(weight.T)
    out = np.empty((1024, c), dtype=np.float32)

    def product() -> int:
        for start in range(0, n, 1024):
            block = x[start : start + 1024]
            np.matmul(block, turned, out=out[: len(block)])
        return n

    return Trial(
        fast=lambda: pw.select("mase", embeddings=x, head_weight=weight, head_bias=bias, batch_size=b),
        peer=product,
        check=lambda ours, theirs: Check(len(ours.indices) == b, "logits only: nothing to compare"),
    )


def _probs_cases() -> list[Case]:
    required = {
        ("margin", "baal"): 3,
        ("margin", "modAL"): 15,
        ("margin", "small-text"): 25,
        ("margin", "scikit-activeml"): 35,
        ("entropy", "baal"): 3,
    }
    cases = []
    for (strategy, peer), ratio in required.items():
        for data in ("structured", "isotropic"):

            def build(peer: str = peer, strategy: str = strategy, **size: Any) -> Trial:
                return over_probs(peer, strategy, **size)

            cases.append(
                Case(
                    name=f"{strategy}-{peer}-{data}",
                    task=f"{strategy} N=50k C=100 b=100",
                    against=peer,
                    required=ratio,
                    build=build,
                    size={"data": data, "n": 50_000, "c": 100, "b": 100},
                    tiny={"data": data, "n": 300, "c": 100, "b": 20},
                    needs=PEERS[peer][0],
                    data=data,
                )
            )
    return cases


def _floor_cases() -> list[Case]:
    cases = []
    for strategy in ("margin", "entropy"):

        def build(strategy: str = strategy, **size: Any) -> Trial:
            return bare_read(strategy, **size)

        cases.append(
            Case(
                name=f"{strategy}-bare-read-structured",
                task=f"{strategy} N=50k C=100 b=100",
                against="bare read (sum) of the array",
                required=0,
                build=build,
                size={"data": "structured", "n": 50_000, "c": 100, "b": 100},
                tiny={"data": "structured", "n": 300, "c": 100, "b": 20},
            )
        )
    return cases


def _mase_cases() -> list[Case]:
    cases = []
    for c, required in ((1000, 300), (100, 100)):
        for data in ("structured", "isotropic"):
            cases.append(
                Case(
                    name=f"mase-c{c}-per-row-{data}",
                    task=f"MASE N=20k C={c} b=500",
                    against="textbook, displacements built (per row)",
                    required=required,
                    build=mase_per_row,
                    size={"data": data, "n": 20_000, "d": 512, "c": c, "b": 500, "peer_rows": 256},
                    tiny={"data": data, "n": 400, "d": 32, "c": 20, "b": 20, "peer_rows": 50},
                    data=data,
                )
            )
    for d in (512, 2048):
        cases.append(
            Case(
                name=f"mase-gemm-d{d}",
                task=f"MASE N=50k D={d} C=1000 b=1000",
                against="bare logits product",
                required=0.6,
                build=mase_gemm,
                size={"data": "structured", "n": 50_000, "d": d, "c": 1000, "b": 1000},
                tiny={"data": "structured", "n": 400, "d": 32, "c": 20, "b": 20},
            )
        )
    return cases


CASES = [*_mase_cases(), *_probs_cases(), *_floor_cases()]
