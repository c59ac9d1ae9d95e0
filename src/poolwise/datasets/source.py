"""What a source of items says: the items in their fixed order, what is known about them, where they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from poolwise.errors import InputError, OptionError
from poolwise.types import Item

Content = Literal["image", "text", "none"]

CONTENT: dict[str, Content] = {
    "image_folder": "image",
    "image_list": "image",
    "image_rows": "image",
    "table_text": "text",
    "arrays": "none",
}
"""What the items of each kind of source hold."""


@dataclass(frozen=True, slots=True)
class Source:
    """Items in their fixed order; item i is pool index i.

    kind : a key of `CONTENT`
    items : N items
    settings : JSON-able; with an item it is all that `load_image` needs to open the item again
    classes : class names in their order, or None if no labels are known
    labels : N class names or None where unknown; from class folders or a label column. For
        simulations and initial labels only.
    embeddings : a path or an array of N rows given with the items, or None
    ignored : reason -> number of files or rows that were left out
    """

    kind: str
    items: Sequence[Item]
    settings: Mapping[str, Any]
    classes: tuple[str, ...] | None = None
    labels: tuple[str | None, ...] | None = None
    embeddings: Any = None
    ignored: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def content(self) -> Content:
        """Say what the items hold: "image", "text" or "none"."""
        return CONTENT[self.kind]


def content_of(settings: Mapping[str, Any]) -> Content:
    """Say what the items of a stored source hold.

    Raises
    ------
    OptionError
        If the settings name no known kind of source.
    """
    kind = settings.get("kind")
    if kind not in CONTENT:
        raise OptionError(f"source settings have kind {kind!r}; expected one of {', '.join(sorted(CONTENT))}.")
    return CONTENT[kind]


def check_ids(ids: Sequence[str], where: str) -> None:
    """Refuse ids that are empty, that repeat, or that cannot be stored as UTF-8.

    Raises
    ------
    InputError
        Names up to three of the ids, and the rows (counted from 1) where the first one stands.
    """
    for row, item_id in enumerate(ids, start=1):
        if not item_id.strip():
            raise InputError(f"{where}: row {row} has no id. Give every row one, or leave the id column out.")
        if not item_id.isascii() and any("\ud800" <= letter <= "\udfff" for letter in item_id):
            raise InputError(f"{where}: the id {item_id!r} of row {row} is not valid UTF-8. Rename it.")
    repeated = [item_id for item_id, count in Counter(ids).items() if count > 1]
    if repeated:
        rows = [str(row) for row, item_id in enumerate(ids, start=1) if item_id == repeated[0]]
        names = ", ".join(repr(item_id) for item_id in repeated[:3])
        more = f" and {len(repeated) - 3} more" if len(repeated) > 3 else ""
        raise InputError(
            f"{where}: ids must differ, but {names}{more} repeat; {repeated[0]!r} is in rows {', '.join(rows[:5])}. "
            "Remove the repeats, or choose another id column."
        )


def class_names(labels: Iterable[str | None], known: Sequence[str] | None = None) -> tuple[str, ...]:
    """Order the class names: the known order first, then the rest sorted."""
    there = {label for label in labels if label is not None}
    first = tuple(known or ())
    return (*first, *sorted(there - set(first)))
