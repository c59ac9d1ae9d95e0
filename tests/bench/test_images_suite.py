"""Facts about the committed suite and its results."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.publish import in_short, page

from poolwise.bench import load_suite, read_results, summarise

ROOT = Path(__file__).resolve().parents[2] / "benchmarks"
SUITE = ROOT / "suites" / "images.toml"
REQUIRED = {
    "random",
    "least_confidence",
    "margin",
    "entropy",
    "mase",
    "base",
    "coreset",
    "badge",
    "kmeans",
    "typiclust",
    "cluster_margin",
    "balanced_random",
}


def test_suite_has_the_named_strategies_on_four_data_sets_with_ten_seeds():
    suite = load_suite(SUITE)
    assert {s.name for s in suite.strategies} >= REQUIRED
    assert [d.task.partition(":")[0] for d in suite.datasets] == [
        "fashion_mnist",
        "tiny_imagenet_features",
        "tiny_imagenet_features_lt",
        "newsgroups20_tfidf",
    ]
    assert len(suite.seeds) == 10


def test_committed_page_follows_from_the_committed_rows():
    path = ROOT / "results" / "images.parquet"
    if not path.is_file():
        pytest.skip("no committed results")
    results = read_results(path)
    lines = summarise(results)
    assert path.with_suffix(".md").read_text(encoding="utf-8") == page(
        lines, results, Path("benchmarks/suites/images.toml")
    )
    assert any(text.startswith("**Strategies that lose to random somewhere:") for text in in_short(lines))
    for seed in results.settings["seeds"]:
        for dataset in results.datasets():
            assert len(set(results.column("labeled_digest", dataset=dataset, seed=seed, round=0))) == 1
