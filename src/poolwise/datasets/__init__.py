"""Sources of items: how to list them in a fixed order, and how to open one again. One file each."""

from poolwise.datasets import (
    arrays,
    cifar10,
    columns,
    content,
    download,
    fashion_demo,
    fashion_mnist,
    image_array,
    image_folder,
    image_list,
    newsgroups20,
    opening,
    source,
    table_text,
    tables,
)
from poolwise.datasets.content import load_content, load_image, load_text
from poolwise.datasets.opening import items_to_add, open_source
from poolwise.datasets.source import Source, content_of

__all__ = [
    "Source",
    "arrays",
    "cifar10",
    "columns",
    "content",
    "content_of",
    "download",
    "fashion_demo",
    "fashion_mnist",
    "image_array",
    "image_folder",
    "image_list",
    "items_to_add",
    "load_content",
    "load_image",
    "load_text",
    "newsgroups20",
    "open_source",
    "opening",
    "source",
    "table_text",
    "tables",
]
