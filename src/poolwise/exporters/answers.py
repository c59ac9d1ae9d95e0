"""The answers of a pool as rows of an exported table."""

from __future__ import annotations

from typing import Any

from poolwise.store.pool import PoolStore
from poolwise.types import Annotation

COLUMNS = ("item_id", "label", "annotator", "time", "seconds", "round", "source", "audit", "draw_probability")
"""`audit` marks random items that judge the model (see docs/guide/audit.md); train on the others."""


def answer_rows(store: PoolStore, *, history: bool = False) -> list[dict[str, Any]]:
    """List the answers with the user's own keys.

    Parameters
    ----------
    history : every answer in the order in which they came, corrected ones included; otherwise the
        last answer of each item, by pool index

    Returns
    -------
    One dictionary per answer with the keys of `COLUMNS`. Skipped items carry `types.SKIP` and
    `types.NOT_OF_INTEREST` as label.
    """
    answers = store.annotations()
    if not history:
        last: dict[int, Annotation] = {answer.index: answer for answer in answers}
        answers = [last[index] for index in sorted(last)]
    ids = store.item_ids([answer.index for answer in answers])
    drawn = _drawn(store)
    return [
        {
            "item_id": item_id,
            "label": answer.label,
            "annotator": answer.annotator,
            "time": answer.time,
            "seconds": answer.seconds,
            "round": answer.round,
            "source": answer.source,
            "audit": answer.index in drawn,
            "draw_probability": drawn.get(answer.index),
        }
        for item_id, answer in zip(ids, answers, strict=True)
    ]


def _drawn(store: PoolStore) -> dict[int, float]:
    """Say with what probability each audit item was drawn, by pool index."""
    drawn: dict[int, float] = {}
    for batch in store.batches():
        probabilities = batch.selection.components.get("draw_probability", ())
        for index, probability in zip(batch.selection.indices.tolist(), probabilities, strict=False):
            if probability == probability:  # NaN: chosen by the strategy
                drawn[index] = float(probability)
    return drawn
