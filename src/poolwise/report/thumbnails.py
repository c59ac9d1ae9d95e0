"""Small pictures inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

from PIL import Image

from poolwise.datasets.content import load_image
from poolwise.errors import UnreadableItemError
from poolwise.types import Item

SIDE_PX = 112
"""Longest side: as wide as a picture is shown on a desk."""


def thumbnail(item: Item, settings: Mapping[str, Any]) -> str | None:
    """Return a data URI of at most `SIDE_PX` pixels, a few kB; None if the picture cannot be opened.

    Parameters
    ----------
    settings : of the item's source
    """
    try:
        image = load_image(item, settings, at_least=SIDE_PX)
    except UnreadableItemError:
        return None
    image.thumbnail((SIDE_PX, SIDE_PX))
    return encode(image)


def encode(image: Image.Image) -> str:
    """Encode as PNG or JPEG, whichever is smaller."""
    encoded = []
    for kind, options in (("png", {"optimize": True}), ("jpeg", {"quality": 82})):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        encoded.append((len(buffer.getvalue()), kind, buffer.getvalue()))
    _, kind, data = min(encoded)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
