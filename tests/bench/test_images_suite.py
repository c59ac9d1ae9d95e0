"""Facts about the committed suites and their results, and how they are published."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.publish import in_short, main, page

from poolwise.bench import load_suite, read_results, run, summarise

ROOT = Path(__file__).resolve().parents[2] / "benchmarks"
SUITE = ROOT / "suites" / "images.toml"
RESULTS = ROOT / "results"
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


@pytest.mark.parametrize("name", ["images", "zoo", "zoo-lowbudget", "zoo-openset"])
def test_committed_page_follows_from_the_committed_rows(name):
    path = RESULTS / f"{name}.parquet"
    if not path.is_file():
        pytest.skip("no committed results")
    results = read_results(path)
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    assert text == page(results, name)
    assert any(
        line.startswith("**Strategies that lose to random somewhere:")
        for line in in_short(summarise(results), "random")
    )
    for fact in (*results.versions.values(), *results.settings["data_digests"].values()):
        assert fact in text
    for seed in results.settings["seeds"]:
        assert str(seed) in text
        for dataset in results.datasets():
            first = results.column("labeled_digest", dataset=dataset, seed=seed, round=0, chosen_by="random")
            assert len(set(first)) == 1


def test_publishing_a_finished_run_writes_its_page_with_all_settings(toy_suite, tmp_path, monkeypatch, capsys):
    toy_suite["strategies"].append({"name": "margin", "ood": "knn"})
    toy_suite["datasets"][0]["foreign"] = 0.5
    run(toy_suite, out=tmp_path / "runs")
    monkeypatch.setattr("benchmarks.publish.RESULTS", tmp_path / "benchmarks" / "results")
    (tmp_path / "benchmarks").mkdir()
    main(["--done", str(tmp_path / "runs")])
    text = (tmp_path / "benchmarks" / "results" / "toy.md").read_text(encoding="utf-8")
    assert text == capsys.readouterr().out
    for fact in ("Seeds: 0, 1, 2.", "`margin` (ood = knn)", "foreign 0.5", "Not of interest", "class_weight = none"):
        assert fact in text
    assert (
        read_results(tmp_path / "benchmarks" / "results" / "toy.parquet").rows == read_results(tmp_path / "runs").rows
    )


def test_publishing_needs_a_suite_or_a_run(capsys):
    for words in ([], ["text", "--done", "runs/text"]):
        with pytest.raises(SystemExit):
            main(words)
        assert "name a suite, or a folder with --done" in capsys.readouterr().err
