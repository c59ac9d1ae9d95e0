"""BADGE against scikit-activeml and two plain loops. Draws are random: their law is compared, not the picks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import poolwise as pw
from benchmarks.peers import packages, textbook
from benchmarks.speed.case import Case, Check, Trial
from benchmarks.speed.data import head, rows
from poolwise.chance import rng_for
from poolwise.kernels.blocks import softmax_in_place
from poolwise.types import FloatArray

SEEDS = 20
"""Draws of whole batches whose potentials are compared."""


def _pool(data: str, n: int, d: int, c: int) -> tuple[FloatArray, FloatArray]:
    x = rows(data, n, d)
    weight, bias = head(x, c)
    return x, softmax_in_place(x @ weight.T + bias)


def _same_potential(x: FloatArray, probs: FloatArray, count: int) -> Check:
    """Mean potential over seeds, of poolwise and of the sequential sampler, within two standard errors.

    Two right samplers are further apart in one comparison of twenty; then five times as many other seeds decide.
    """
    x, probs = x[:2000], probs[:2000]
    apart = _standard_errors_apart(x, probs, count, range(SEEDS))
    if apart > 2:
        apart = _standard_errors_apart(x, probs, count, range(SEEDS, 6 * SEEDS))
    return Check(apart <= 2, f"mean potential {apart:.1f} standard errors from the sequential sampler's")


def _standard_errors_apart(x: FloatArray, probs: FloatArray, count: int, seeds: range) -> float:
    ours, theirs = [], []
    for seed in seeds:
        picks = pw.select("badge", embeddings=x, probs=probs, batch_size=count, seed=seed).indices
        ours.append(textbook.potential(probs, x, picks))
        picks = textbook.badge_factored(probs, x, count, rng_for(seed, "sequential"))
        theirs.append(textbook.potential(probs, x, picks))
    error = np.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / len(seeds))
    return float(abs(np.mean(ours) - np.mean(theirs)) / max(error, 1e-12))


def _check(x: FloatArray, probs: FloatArray, b: int) -> Callable[[Any, Any], Check]:
    def check(ours: Any, theirs: Any) -> Check:
        law = _same_potential(x, probs, min(b, 50))
        return Check(law.passed and len(np.unique(ours)) == b, law.text)

    return check


def against_activeml(*, data: str, n: int, d: int, c: int, b: int) -> Trial:
    """The whole batch by scikit-activeml."""
    x, probs = _pool(data, n, d, c)
    return Trial(
        fast=lambda: pw.select("badge", embeddings=x, probs=probs, batch_size=b).indices,
        peer=packages.activeml_badge(x, probs, b),
        check=_check(x, probs, b),
    )


def against_built(*, data: str, n: int, d: int, c: int, b: int) -> Trial:
    """The whole batch by the paper's algorithm on gradients that are built."""
    x, probs = _pool(data, n, d, c)
    return Trial(
        fast=lambda: pw.select("badge", embeddings=x, probs=probs, batch_size=b).indices,
        peer=lambda: textbook.badge_built(probs, x, b, rng_for(0, "built")),
        check=_check(x, probs, b),
    )


def against_factored(*, data: str, n: int, d: int, c: int, b: int, picks: tuple[int, int]) -> Trial:
    """A few picks by the factored loop, extended to the batch."""
    x, probs = _pool(data, n, d, c)
    return Trial(
        fast=lambda: pw.select("badge", embeddings=x, probs=probs, batch_size=b).indices,
        peer=lambda: textbook.badge_factored(probs, x, picks[1], rng_for(0, "factored")),
        shorter=lambda: textbook.badge_factored(probs, x, picks[0], rng_for(0, "factored")),
        picks=picks,
        target=b,
        check=_check(x, probs, b),
    )


def _cases() -> list[Case]:
    cases = []
    ten = {"n": 10_000, "d": 512, "c": 10, "b": 100}
    tiny = {"n": 300, "d": 16, "c": 5, "b": 12}
    for data in ("structured", "isotropic"):
        for peer, build, required, needs in (
            ("scikit-activeml Badge", against_activeml, 150, "skactiveml"),
            ("textbook, gradients built", against_built, 200, ""),
        ):
            cases.append(
                Case(
                    name=f"badge-10k-{needs or 'built'}-{data}",
                    task="BADGE N=10k C=10 b=100",
                    against=peer,
                    required=required,
                    build=build,
                    size={"data": data, **ten},
                    tiny={"data": data, **tiny},
                    needs=needs,
                    data=data,
                )
            )
    cases.append(
        Case(
            name="badge-60k-loop-structured",
            task="BADGE N=60k C=1000 b=2000",
            against="factored loop (slope)",
            required=100,
            build=against_factored,
            size={"data": "structured", "n": 60_000, "d": 512, "c": 1000, "b": 2000, "picks": (4, 12)},
            tiny={"data": "structured", **tiny, "picks": (4, 8)},
        )
    )
    return cases


CASES = _cases()
