"""Read the JSON exports of Label Studio back: tasks with annotations, as rows of a label file.

Source: the JSON export of Label Studio (labelstud.io/guide/export). Its JSON-MIN and CSV exports are
plain tables and need no code of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from poolwise.errors import InputError
from poolwise.types import SKIP


def is_label_studio(parsed: Sequence[Any]) -> bool:
    """Tell a full export (tasks with `data`) from a plain list of rows."""
    return isinstance(parsed[0], dict) and isinstance(parsed[0].get("data"), dict)


def label_studio_rows(name: str, tasks: Sequence[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """List (where, row) for each annotation of an export; a skipped task gives `types.SKIP`.

    Raises
    ------
    InputError
        If a task lost its item_id, or an annotation chose several classes.
    """
    for number, task in enumerate(tasks, start=1):
        where = f"task {number}"
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict) or "item_id" not in data:
            raise InputError(
                f"{name!r} {where} has no data.item_id; only tasks that came from "
                "`poolwise export POOL --format label_studio` can be imported."
            )
        for annotation in task.get("annotations") or [{}]:
            yield where, {"item_id": data["item_id"], **_annotation(name, where, annotation)}


def _annotation(name: str, where: str, annotation: Mapping[str, Any]) -> dict[str, Any]:
    if annotation.get("was_cancelled"):
        label = SKIP
    else:
        chosen = [
            choice
            for result in annotation.get("result") or []
            if result.get("type") == "choices"
            for choice in result.get("value", {}).get("choices", [])
        ]
        if len(chosen) > 1:
            raise InputError(
                f"{name!r} {where} has {len(chosen)} classes ({', '.join(map(repr, chosen[:3]))}); "
                'an item has one. Use choice="single" in the labeling setup.'
            )
        label = chosen[0] if chosen else ""
    who = annotation.get("completed_by")
    return {
        "label": label,
        "annotator": who.get("email") or who.get("id") if isinstance(who, dict) else who,
        "seconds": annotation.get("lead_time"),
        "time": annotation.get("created_at"),
    }
