"""Facts about the strategies of public packages, where the packages are installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import numpy as np
import pytest

from poolwise import select
from poolwise.bench import load_suite, run
from poolwise.errors import MissingExtraError
from poolwise.registry import STRATEGIES

IMPORTS = {"baal": "baal", "modal": "modAL", "skactiveml": "skactiveml", "small_text": "small_text"}


@pytest.fixture(scope="module")
def peers():
    """Registered for these tests only: other tests speak of our own strategies."""
    from benchmarks.peers import strategies

    yield strategies
    for name in strategies.TWINS:
        STRATEGIES._entries.pop(name)
    for name in ("benchmarks.peers.strategies", "benchmarks.peers.compare"):
        sys.modules.pop(name, None)


def installed(peer: str) -> bool:
    return importlib.util.find_spec(IMPORTS[peer.removeprefix("peer:").split(".")[0]]) is not None


def pool(n_rows=120):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_rows, 5)).astype(np.float32)
    probs = rng.dirichlet(np.ones(4), n_rows).astype(np.float32)
    return x, probs / probs.sum(axis=1, keepdims=True)


def choose(name, labeled, batch_size=10):
    x, probs = pool()
    y = np.arange(len(labeled)) % 4
    given = {"labeled": labeled, "labels": y, "batch_size": batch_size, "seed": 0}
    return select(name, embeddings=x, probs=probs, **given).indices.tolist()


def test_every_peer_has_a_twin_and_is_in_the_suite(peers):
    suite = load_suite("benchmarks/suites/peers.toml")
    names = {use.name for use in suite.strategies}
    assert set(peers.TWINS) | set(peers.TWINS.values()) == names


def test_a_missing_package_says_what_to_install(peers):
    with pytest.raises(MissingExtraError, match=r"pip install 'poolwise\[bench\]'"):
        peers.ask(importlib.import_module, "no_such_package.at_all")


EXACT = [
    *("peer:baal.entropy", "peer:baal.margin"),
    *("peer:modal.entropy", "peer:modal.margin", "peer:modal.uncertainty"),
    *("peer:skactiveml.entropy", "peer:skactiveml.least_confident", "peer:skactiveml.margin"),
    *("peer:small_text.breaking_ties", "peer:small_text.least_confidence", "peer:small_text.prediction_entropy"),
]


@pytest.mark.parametrize("peer", EXACT)
def test_uncertainty_of_packages_is_ours_pick_for_pick(peers, peer):
    if not installed(peer):
        pytest.skip(f"{peer} is not installed")
    labeled = np.array([3, 40, 41, 99])
    assert sorted(choose(peer, labeled)) == sorted(choose(peers.TWINS[peer], labeled))


def test_coreset_of_small_text_is_ours_only_where_unlabeled_rows_come_first(peers):
    pytest.importorskip("small_text")
    last, first = np.arange(110, 120), np.arange(10)
    assert choose("peer:small_text.coreset", last) == choose("coreset", last)
    assert choose("peer:small_text.coreset", first) != choose("coreset", first)


def test_coreset_of_scikit_activeml_is_ours(peers):
    pytest.importorskip("skactiveml")
    assert choose("peer:skactiveml.coreset", np.arange(0, 60, 7)) == choose("coreset", np.arange(0, 60, 7))


def test_the_page_tells_equal_picks_from_equal_areas(peers, toy_suite, monkeypatch):
    from benchmarks.peers.compare import page, pairs

    monkeypatch.setattr("benchmarks.peers.compare.TWINS", {"same": "margin", "other": "margin"})
    monkeypatch.setattr("benchmarks.peers.compare.PACKAGES", ("numpy",))
    strategies = ["random", "margin", {"name": "margin", "label": "same"}, {"name": "coreset", "label": "other"}]
    results = run({**toy_suite, "strategies": strategies})
    same, other = pairs(results)
    assert (same.same, same.p, same.difference.mean) == (3, 1.0, 0.0)
    assert other.same == 0
    assert other.difference.mean == pytest.approx(other.theirs - other.ours)
    assert "pick for pick, on every data set and seed: same." in page(results, "the notes")
