"""Budget rule: which strategy fits follows from the labels per class, with no tuning.

Source: our own; after Hacohen, Dekel & Weinshall, "Active Learning on a Budget", ICML 2022 (low budgets want
typical items, high ones uncertain ones).
"""

from __future__ import annotations

import numpy as np

from poolwise.auto.nominations import ask, situation
from poolwise.errors import OptionError
from poolwise.registry import strategy
from poolwise.types import IndexArray, Picks, Rows

LOW, HIGH = 1.0, 20.0


@strategy(
    "budget_rule",
    family="selector",
    paper="ours; after arXiv:2202.02794",
    cost="that of the strategy it follows",
    use_when="You want one fixed strategy for each phase of a project.",
)
def budget_rule(
    embeddings: Rows,
    labeled: IndexArray,
    unlabeled: IndexArray,
    labels: IndexArray | None = None,
    logits: Rows | None = None,
    *,
    batch_size: int,
    rng: np.random.Generator,
    low: str = "maxherding",
    middle: str = "uherding",
    high: str = "cluster_margin",
    until: tuple[float, ...] = (LOW, HIGH),
) -> Picks:
    """Follow one strategy below `until[0]` labels per class, another below `until[1]`, a third above.

    Parameters
    ----------
    embeddings : (N, D) features
    labeled : (L,) int64 pool indices, sorted; may be empty
    unlabeled : (U,) int64 pool indices, sorted
    labels : (N,) int64, -1 where unlabeled; counts the classes where there are no logits
    logits : (N, C)
    batch_size : B, 1 <= B <= U
    rng : seeds the strategy
    low, middle, high : strategies
    until : two numbers of labels per class, the smaller first

    Returns
    -------
    Picks of the strategy followed; notes name it.
    """
    if len(until) != 2 or not 0 <= until[0] <= until[1]:
        raise OptionError(
            f"budget_rule: until must be two numbers of labels per class, the smaller first; got {until}."
        )
    now = situation(labeled, unlabeled, labels, embeddings=embeddings, logits=logits)
    n_classes = logits.shape[1] if logits is not None else max(1, len(np.unique(now.y)))
    ratio = len(labeled) / n_classes
    name = low if logits is None or ratio < until[0] else middle if ratio < until[1] else high
    chosen = ask(now, name, batch_size, int(rng.integers(2**62)))
    notes = {"followed": name, "labels_per_class": ratio, **chosen.notes}
    return Picks(chosen.indices, chosen.scores, chosen.components, notes)
