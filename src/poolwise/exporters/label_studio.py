"""Label Studio: tasks for the items to label, and a labeling setup for them.

Source: the task format of Label Studio (labelstud.io/guide/tasks); `read_label_studio` reads its exports.
Pictures on disk are given as local files: start Label Studio with
`LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=<document_root>` and add
a local storage for their folder.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import quoteattr

from PIL import Image

from poolwise.datasets.content import load_image
from poolwise.errors import InputError, UnreadableItemError
from poolwise.registry import exporter
from poolwise.store.files import write_atomic
from poolwise.store.pool import PoolStore
from poolwise.types import NOT_OF_INTEREST, Item


@exporter("label_studio")
def label_studio(
    store: PoolStore, path: Path, *, which: Literal["asked", "unlabeled"] = "asked", document_root: str = "/"
) -> Path:
    """Write tasks as JSON, and beside them the labeling setup as XML with the pool's classes.

    Parameters
    ----------
    which : "asked" for the batches that await answers, in order of choice; "unlabeled" for these and
        every other item without an answer
    document_root : folder from which Label Studio serves local files

    Raises
    ------
    InputError
        If `path` ends in .xml, there is no such item, one has neither picture nor text, or a picture is not below
        `document_root`.
    """
    if path.suffix == ".xml":
        raise InputError(f"{path.name!r} is the name of the labeling setup beside the tasks; name them .json.")
    ranked = [
        (index, batch.selection.strategy, rank)
        for batch in store.batches(open_only=True)
        for rank, index in enumerate(batch.unanswered.tolist())
    ]
    if which == "unlabeled":
        ranked += [(index, "", 0) for index in store.state().unlabeled.tolist()]
    if not ranked:
        raise InputError(
            f"pool {store.name!r} has no {which} item to export; "
            f"ask for a batch with `poolwise query {store.path}` first."
        )
    items = store.items([index for index, _, _ in ranked])
    content = [_content(item, store.source, document_root) for item in items]
    tasks = [
        {"data": {"item_id": item.item_id, **shown, "strategy": strategy, "rank": rank}}
        for item, shown, (_, strategy, rank) in zip(items, content, ranked, strict=True)
    ]
    setup = labeling_setup(store.classes, "image" if "image" in tasks[0]["data"] else "text")
    write_atomic(path.with_suffix(".xml"), setup.encode("utf-8"))
    write_atomic(path, json.dumps(tasks, ensure_ascii=False, indent=1).encode("utf-8"))
    return path


def labeling_setup(classes: Sequence[str], kind: Literal["image", "text"]) -> str:
    """Write the labeling setup (Settings, Labeling Interface, Code): one choice per class."""
    shown = '<Image name="image" value="$image"/>' if kind == "image" else '<Text name="text" value="$text"/>'
    choices = "".join(f"    <Choice value={quoteattr(name)}/>\n" for name in classes)
    return (
        f"<View>\n  {shown}\n"
        f'  <Choices name="label" toName="{kind}" choice="single" showInLine="true">\n{choices}'
        f'    <Choice value="Not of interest" alias="{NOT_OF_INTEREST}"/>\n  </Choices>\n</View>\n'
    )


def _content(item: Item, settings: Mapping[str, Any], document_root: str) -> dict[str, str]:
    """What the annotator sees: the text, the address of the picture, or the picture itself if it is a table row."""
    if item.text is not None:
        return {"text": item.text}
    if item.uri is None:
        raise InputError(
            f"item {item.item_id!r} has neither picture nor text, so nobody can label it in Label Studio. "
            "Export a list of ids with `poolwise query POOL --json` instead."
        )
    if item.uri.startswith("#"):
        try:
            return {"image": data_uri(load_image(item, settings))}
        except UnreadableItemError as error:
            raise InputError(
                f'item {item.item_id!r} cannot be opened ({error}); put the file back, or answer the item with "skip".'
            ) from error
    if urlsplit(item.uri).scheme in ("http", "https", "s3", "gs"):
        return {"image": item.uri}
    place = Path(os.path.normpath(Path(settings.get("folder", "")).absolute() / item.uri))
    root = Path(document_root).absolute()
    if not place.is_relative_to(root):
        raise InputError(
            f"item {item.item_id!r} lies at {str(place)!r}, not below document_root {str(root)!r}; "
            "give a folder that holds all pictures."
        )
    return {"image": f"/data/local-files/?d={quote(place.relative_to(root).as_posix())}"}


def data_uri(image: Image.Image) -> str:
    """Put a picture into an address, as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
