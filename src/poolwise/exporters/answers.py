"""The answers of a pool as rows of an exported table."""

from __future__ import annotations

from typing import Any

from poolwise.store.pool import PoolStore
from poolwise.types import Annotation

COLUMNS = ("item_id", "label", "annotator", "time", "seconds", "round", "source")


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
    return [
        {
            "item_id": item_id,
            "label": answer.label,
            "annotator": answer.annotator,
            "time": answer.time,
            "seconds": answer.seconds,
            "round": answer.round,
            "source": answer.source,
        }
        for item_id, answer in zip(ids, answers, strict=True)
    ]
