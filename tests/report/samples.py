"""Reports with invented structure, for tests of what a page does with them."""

from __future__ import annotations

from poolwise.report.model import (
    Comparison,
    Curve,
    DatasetResults,
    Estimate,
    Fact,
    Pick,
    PickedBatch,
    QueryCost,
    Report,
    RoundFacts,
    Saving,
    Setup,
)

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def pool(name: str = "birds", text: str | None = None, image: str | None = PIXEL) -> Report:
    """A pool of three rounds; `name` is used for everything that a user can name."""
    picks = (
        Pick(0, 7, f"{name}/7.jpg", 0.9, {name: 0.25}, name, image, text),
        Pick(1, 3, f"{name}/3.jpg", None, {}, None, None, text),
    )
    return Report(
        title=name,
        subtitle=f"100 images of {name}",
        made="2026-05-31",
        facts=(Fact(name, name, name),),
        sentences=(f"About {name}.",),
        rounds=(
            RoundFacts(1, "random", 10, 10, {"accuracy": Estimate(0.5, 0.4, 0.6)}, 0.01, 0.1, 30.0, 10),
            RoundFacts(2, name, 20, 10, {"accuracy": Estimate(0.7, 0.6, 0.8), name: Estimate(3.0)}, notes={name: name}),
        ),
        class_counts={name: 12, "other": 8},
        batches=(PickedBatch(2, name, 10, picks),),
        setup=Setup({name: name}, 7, {"poolwise": name}),
    )


def bench(name: str = "digits", strategy: str = "margin") -> Report:
    """A benchmark with one winner, one loser and one undecided strategy."""
    n = (10, 20, 30)
    return Report(
        title="A benchmark",
        datasets=(
            DatasetResults(
                name,
                5,
                curves=(
                    Curve("random", n, (0.5, 0.6, 0.7), (0.45, 0.55, 0.65), (0.55, 0.65, 0.75)),
                    Curve(strategy, n, (0.5, 0.7, 0.8), (0.45, 0.65, 0.75), (0.55, 0.75, 0.85)),
                ),
                comparisons=(
                    Comparison(strategy, 5, Estimate(0.675), 0.8, 0.79, Estimate(0.075, 0.05, 0.1), 0.002),
                    Comparison("random", 5, Estimate(0.6), 0.7, 0.69),
                    Comparison("even", 5, Estimate(0.605), 0.7, None, Estimate(0.005, -0.01, 0.02), 0.4),
                    Comparison("bad", 5, Estimate(0.5), 0.6, 0.5, Estimate(-0.1, -0.12, -0.08), 0.00001),
                ),
                savings=(
                    Saving(strategy, 0.7, 30, 20, Estimate(10, 6, 14), 5, 5),
                    Saving("bad", 0.7, 30, None, None, 0, 5),
                ),
                entropy=(Curve("random", n, (0.9, 0.95, 1.0)),),
                costs=(QueryCost(strategy, 0.25, None),),
            ),
        ),
        setup=Setup({"suite": "tiny"}, 0, {"numpy": "2"}),
    )
