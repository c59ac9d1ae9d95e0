"""Every option of `auto` and of the choices among strategies changes what is chosen: a switch that does not is dead."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import poolwise as pw
from poolwise.registry import STRATEGIES

SMALL = {"candidates": ("margin", "entropy", "coreset", "random")}
PLAIN = SMALL | {"diverse": False, "shrink": 0.0}
SWITCHES: dict[str, dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "auto": {
        "quality": ({}, {"quality": 1.0}),
        "filter_width": ({"quality": 1.0}, {"filter_width": 4.0}),
        "balance": ({}, {"balance": False}),
        "sigma": ({}, {"sigma": 0.1}),
        "reference": ({}, {"reference": 130}),
        "method": ({}, {"method": "cells"}),
    },
    "autoal": {
        "candidates": (PLAIN, {"candidates": ("margin", "coreset")}),
        "utility": (PLAIN, {"utility": "loss"}),
        "weights": (PLAIN, {"weights": "items"}),
        "splits": (PLAIN, {"splits": 1}),
        "steps": (PLAIN, {"steps": 1}),
        "shrink": (PLAIN, {"shrink": 1e9}),
        "diverse": (PLAIN, {"diverse": True}),
        "explore": (PLAIN, {"explore": 0.5}),
    },
    "ensemble": {
        "candidates": (SMALL, {"candidates": ("margin", "coreset")}),
        "combine": (SMALL, {"combine": "votes"}),
        "diverse": (SMALL, {"diverse": False}),
    },
    "albl": {
        "candidates": (SMALL, {"candidates": ("margin", "coreset")}),
        "per": (SMALL, {"per": "batch"}),
        "reward": (SMALL, {"reward": "weighted"}),
        "delta": (SMALL, {"delta": 1.0}),
    },
    "look": {
        "candidates": (SMALL, {"candidates": ("margin", "entropy")}),
        "splits": (SMALL, {"splits": 1}),
    },
    "tailor": {
        "candidates": (SMALL, {"candidates": ("margin", "coreset")}),
        "discount": (SMALL, {"discount": 0.01}),
    },
    "selectal": {
        "low": ({}, {"low": "coreset"}),
        "high": ({}, {"high": "coreset"}),
        "tie": ({}, {"tie": "coreset"}),
        "removed": ({}, {"removed": 0.5}),
        "repeats": ({}, {"repeats": 1}),
    },
    "refine": {
        "members": ({}, {"members": ("typiclust",)}),
        "n_filters": ({}, {"n_filters": 1}),
    },
    "budget_rule": {
        "low": ({"until": (1000.0, 2000.0)}, {"low": "coreset"}),
        "middle": ({}, {"middle": "coreset"}),
        "high": ({"until": (0.0, 1.0)}, {"high": "coreset"}),
        "until": ({}, {"until": (0.0, 1.0)}),
    },
}


@cache
def pool(seed: int) -> tuple[dict[str, Any], np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(4), rng.integers(0, 4, 236)])
    x = (1.5 * rng.normal(size=(4, 6))[y] + rng.normal(size=(240, 6))).astype(np.float32)
    head = {"head_weight": rng.normal(size=(4, 6)).astype(np.float32), "head_bias": np.zeros(4)}
    return {"embeddings": x, **head}, y


def ask(name: str, seed: int, options: dict[str, Any]) -> list[int]:
    """The second batch, so that there is something to remember; its arrays are labeled by the first."""
    arrays, y = pool(seed)
    labeled, history = np.arange(48), []
    if "history" in STRATEGIES[name].takes_state:
        first = pw.select(name, **arrays, labeled=labeled, labels=y[labeled], batch_size=12, seed=seed, **options)
        labeled, history = np.union1d(labeled, first.indices), [first]
    state = {"labeled": labeled, "labels": y[labeled], **({"history": history} if history else {})}
    return pw.select(name, **arrays, **state, batch_size=12, seed=seed, **options).indices.tolist()


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name, switches in SWITCHES.items() for option in switches]
)
def test_it_changes_what_is_chosen(name: str, option: str) -> None:
    base, change = SWITCHES[name][option]
    assert set(change) == {option}
    assert any(ask(name, seed, base) != ask(name, seed, base | change) for seed in range(8))


def test_no_option_is_left_out() -> None:
    families = ("auto", "selector")
    known = {name: {*STRATEGIES[name].options} for name in STRATEGIES.names() if STRATEGIES[name].family in families}
    assert known == {name: {*switches} for name, switches in SWITCHES.items()}
