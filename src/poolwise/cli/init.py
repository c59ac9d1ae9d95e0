"""`poolwise init`: list the items of a source as a new pool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poolwise.cli.output import counted, echo_json, say, show_progress
from poolwise.errors import InputError
from poolwise.pool import Pool

Images = Annotated[Path | None, typer.Option(help="A folder of images; class folders inside are optional.")]
TableFile = Annotated[Path | None, typer.Option(help="A CSV, JSONL or Parquet file, one item a row.")]
Text = Annotated[str | None, typer.Option(help="The table's column of texts.")]
ImageColumn = Annotated[str | None, typer.Option(help="The table's column of image paths.")]
Embeddings = Annotated[
    Path | None, typer.Option(help="An (N, D) array: .npy, .npz, .safetensors, .parquet, or a folder of parts.")
]
IdColumn = Annotated[str | None, typer.Option(help="The table's column of your own item ids.")]
LabelColumn = Annotated[str | None, typer.Option(help="The table's column of known labels; empty = unknown.")]
GroupColumn = Annotated[str | None, typer.Option(help="The table's column of groups (patient, video, ...).")]
Dataset = Annotated[str | None, typer.Option(help="A named public data set, such as fashion-demo.")]


def init(
    pool: Annotated[Path, typer.Argument(help="Directory to create, such as birds.pool.")],
    images: Images = None,
    table: TableFile = None,
    text: Text = None,
    image_column: ImageColumn = None,
    embeddings: Embeddings = None,
    dataset: Dataset = None,
    id_column: IdColumn = None,
    label_column: LabelColumn = None,
    group_column: GroupColumn = None,
    classes: Annotated[
        str | None, typer.Option(help="Class names, separated by commas; default: as labels come.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Every random choice of this pool follows from it.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Create a pool from images, a table or an array; nothing is copied but arrays.

    Example:  poolwise init birds.pool --images photos/
    """
    if images is None and table is None and embeddings is None and dataset is None:
        raise InputError(
            "init needs items: --images DIR, --table FILE with --text COLUMN or --image-column COLUMN, "
            "--embeddings FILE, or --dataset NAME."
        )
    if table is not None and text is None and image_column is None and embeddings is None:
        raise InputError(
            f"which column of {table.name} holds the items? Say --text COLUMN or --image-column COLUMN. "
            "A table of numbers goes in with --embeddings FILE (.npy, .npz or .parquet)."
        )
    with show_progress():
        made = Pool.create(
            pool,
            images=images,
            table=table,
            text=text,
            image_column=image_column,
            embeddings=embeddings,
            dataset=dataset,
            id_column=id_column,
            label_column=label_column,
            group_column=group_column,
            classes=None if classes is None else [name.strip() for name in classes.split(",") if name.strip()],
            seed=seed,
        )
    if as_json:
        echo_json(made.status().to_dict())
    else:
        print(f"{pool}: {counted(made.n_items, 'item')}")
        say(f"Next: {made.status().next_step}")
