"""Margin, entropy and least confidence on awkward probabilities pick what a sort of float64 scores picks."""

from __future__ import annotations

import math

import numpy as np
import pytest

import poolwise as pw
from poolwise.errors import InputError

STRATEGIES = ("margin", "entropy", "least_confidence")


def score(name: str, row: list[float]) -> float:
    """The definitions, one row at a time."""
    ordered = [*sorted(row, reverse=True), 0.0]
    if name == "margin":
        return 1 - ordered[0] + ordered[1]
    if name == "least_confidence":
        return 1 - ordered[0]
    return -math.fsum(p * math.log(max(p, 1e-30)) for p in row)


def slow_top(name: str, probs: np.ndarray, free: list[int], count: int) -> list[int]:
    values = {i: round(score(name, probs[i].astype(np.float64).tolist()), 11) for i in free}
    return sorted(free, key=lambda i: (-values[i], i))[:count]


def awkward(kind: str) -> np.ndarray:
    rng = np.random.default_rng(7)
    width = {"one class": 1, "two classes": 2, "three classes": 3, "many classes": 200}.get(kind, 41)
    p = rng.dirichlet(np.full(width, 0.3), 1500)
    if kind == "duplicates":
        p[500:1000] = p[:500]
    if kind == "ties":
        p = rng.multinomial(8, np.full(width, 1 / width), 1500) / 8
    if kind == "certain":
        p = np.eye(width)[rng.integers(0, width, 1500)]
        p[::5] = rng.dirichlet(np.ones(width), 300)
    if kind == "minus zero":
        p[:, 3] = 0
        p /= p.sum(axis=1, keepdims=True)
        p[::3, 3] = -0.0
    if kind in ("constant", "one class"):
        p[:] = 1 / width
    return p


KINDS = (
    "one class",
    "two classes",
    "three classes",
    "many classes",
    "duplicates",
    "ties",
    "certain",
    "minus zero",
    "constant",
    "plain",
)


def stored(probs: np.ndarray, how: str) -> np.ndarray:
    if how == "by columns":
        return np.asfortranarray(probs.astype(np.float32))
    if how == "every other row":
        return np.repeat(probs.astype(np.float32), 2, axis=0)[::2]
    return probs.astype(how)


@pytest.mark.parametrize("how", ["float16", "float32", "float64", "by columns", "every other row"])
@pytest.mark.parametrize("kind", KINDS)
def test_awkward_pools_give_the_picks_of_a_sort(kind: str, how: str) -> None:
    probs = stored(awkward(kind), how)
    labeled = list(range(0, 1500, 11))
    free = sorted(set(range(1500)) - set(labeled))
    for name in STRATEGIES:
        got = pw.select(name, probs=probs, labeled=labeled, batch_size=40).indices.tolist()
        assert got == slow_top(name, probs, free, 40), name


FAULTS = {
    "NaN": (np.nan, "holds NaN or inf"),
    "inf": (np.inf, "holds NaN or inf"),
    "minus inf": (-np.inf, "holds NaN or inf"),
    "too much": (0.5, "sums to"),
}


@pytest.mark.parametrize("how", ["float16", "float32", "float64", "by columns"])
@pytest.mark.parametrize("width", [1, 2, 3, 41, 250])
@pytest.mark.parametrize("fault", [*FAULTS, "negative"])
def test_the_row_that_holds_no_probabilities_is_named(fault: str, width: int, how: str) -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(width), 1500)
    expected = "sums to"
    if fault == "negative":
        probs[777, :2] = (1.25, -0.25)[:width]  # with two columns or more they still sum to 1
        probs[777, 2:] = 0
    else:
        value, expected = FAULTS[fault]
        probs[777, width // 2] = probs[777, width // 2] + value
    for name in STRATEGIES:
        for labeled in ([], [776, 778], [777]):
            with pytest.raises(InputError, match=f"probs row 777 {expected}"):
                pw.select(name, probs=stored(probs, how), labeled=labeled, batch_size=40)


def test_of_several_bad_rows_the_first_without_numbers_is_named() -> None:
    probs = np.full((3000, 4), 0.25, dtype=np.float32)
    probs[5] = 0.2
    probs[2900, 1] = np.nan
    for name in STRATEGIES:
        with pytest.raises(InputError, match="probs row 2900 holds NaN"):
            pw.select(name, probs=probs, batch_size=3)
    probs[2900, 1] = 0.25
    for name in STRATEGIES:
        with pytest.raises(InputError, match=r"probs row 5 sums to 0\.8 "):
            pw.select(name, probs=probs, batch_size=3)


@pytest.mark.parametrize("total", [0.9991, 0.99895, 1.00095, 1.0011])
def test_sums_are_accepted_within_a_thousandth(total: float) -> None:
    """The bound lies a little above where the first look begins to doubt."""
    probs = np.full((1500, 8), 0.125)
    probs[600, 0] += total - 1
    for name in STRATEGIES:
        if abs(total - 1) <= 1e-3:
            assert len(pw.select(name, probs=probs.astype(np.float32), batch_size=3).indices) == 3
        else:
            with pytest.raises(InputError, match="probs row 600 sums to"):
                pw.select(name, probs=probs.astype(np.float32), batch_size=3)
