"""`poolwise add`: append new items to a pool."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from poolwise.cli.arguments import PoolDir
from poolwise.cli.init import Embeddings, GroupColumn, IdColumn, ImageColumn, Images, LabelColumn, TableFile, Text
from poolwise.cli.output import counted, echo_json, say, show_progress
from poolwise.pool import Pool


def add(
    pool: PoolDir,
    images: Images = None,
    table: TableFile = None,
    text: Text = None,
    image_column: ImageColumn = None,
    embeddings: Embeddings = None,
    id_column: IdColumn = None,
    label_column: LabelColumn = None,
    group_column: GroupColumn = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Append the items of a source that the pool does not have yet; existing items keep their index.

    An item that the pool has is known by its id. Rows of --embeddings have none without --id-column: all count as new.

    Example:  poolwise add birds.pool --images photos/
    """
    opened = Pool.open(pool)
    with show_progress():
        added = opened.add(
            images=images,
            table=table,
            text=text,
            image_column=image_column,
            embeddings=embeddings,
            id_column=id_column,
            label_column=label_column,
            group_column=group_column,
        )
    if as_json:
        echo_json({"added": added, "n_items": opened.n_items})
    else:
        print(f"{pool}: {counted(added, 'new item')}, {opened.n_items:,} in all")
        if added and embeddings is None:
            say(f"Next: poolwise embed {shlex.quote(str(pool))}")
