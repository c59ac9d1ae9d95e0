"""One door to all sources: choose by the arguments."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from poolwise.datasets.arrays import arrays, check_embeddings
from poolwise.datasets.image_array import image_array
from poolwise.datasets.image_folder import image_folder
from poolwise.datasets.image_list import image_list, image_paths
from poolwise.datasets.source import Source, content_of
from poolwise.datasets.table_text import table_text
from poolwise.datasets.tables import ENDINGS, open_table
from poolwise.errors import InputError, OptionError
from poolwise.registry import DATASETS, coerce
from poolwise.types import Item


def open_source(
    *,
    images: Any = None,
    table: Any = None,
    text: str | None = None,
    image_column: str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    embeddings: Any = None,
    dataset: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Source:
    """List the items of a source.

    Parameters
    ----------
    images : folder of images; table that lists them (.csv, .tsv, .jsonl, .parquet); .npy file of
        (N, H, W[, 3]) uint8; or a sequence of paths
    table : .csv, .tsv, .jsonl or .parquet file, or a data frame; with `text` a pool of texts, with
        `image_column` a pool of images (relative to the folder `images` if that is given too), with
        `embeddings` only the source of ids, labels and groups
    text, image_column, id_column, label_column, group_column : names of columns of the table
    embeddings : (N, D) array or file (.npy, .npz, .parquet, .safetensors): the whole pool, or the
        embeddings of the items named by the other arguments
    dataset : name of a public data set, downloaded into the cache folder the first time
    options : options of the data set, such as split

    Returns
    -------
    The source; N >= 1.

    Raises
    ------
    InputError, OptionError
        If nothing or too much is given, or something cannot be used; says what to type.
    UnknownNameError
        If there is no data set of that name.
    DownloadError
        If it cannot be fetched.
    """
    columns = {"id_column": id_column, "label_column": label_column, "group_column": group_column}
    given = [
        name
        for name, value in (("images", images), ("table", table), ("embeddings", embeddings), ("dataset", dataset))
        if value is not None
    ]
    if not given and text is None and image_column is None:
        raise InputError(
            "a pool needs items: give images=FOLDER, table=FILE with text=COLUMN or image_column=COLUMN, "
            "embeddings=ARRAY, or dataset=NAME."
        )
    if dataset is not None:
        if len(given) > 1:
            raise InputError(f"dataset={dataset!r} stands alone, but {' and '.join(given[:-1])} came with it.")
        return _named_dataset(dataset, options or {})
    source = _with_content(images, table, text, image_column, columns)
    if source is None:
        if table is not None and embeddings is None:
            names = ", ".join(open_table(table).names)
            raise InputError(
                f"table={str(table)!r}: which column holds the items? Columns: {names}. "
                "Say text=COLUMN or image_column=COLUMN."
            )
        return arrays(embeddings, table=table, **columns)
    if embeddings is None:
        return source
    n_rows, embeddings = check_embeddings(embeddings)
    if n_rows != len(source):
        raise InputError(
            f"embeddings have {n_rows} rows, but there are {len(source)} items. "
            f"Row i must be item i; the first items are {', '.join(repr(i.item_id) for i in source.items[:3])}."
        )
    return replace(source, embeddings=embeddings)


def _named_dataset(name: str, options: Mapping[str, Any]) -> Source:
    """Open a registered data set with checked options."""
    function = DATASETS[name]
    hints = {key: hint for key, hint in typing.get_type_hints(function).items() if key != "return"}
    checked = {}
    for option, value in options.items():
        if option not in hints:
            raise OptionError(f"dataset {name!r} has no option {option!r}. Options: {', '.join(hints) or 'none'}.")
        checked[option] = coerce(f"dataset {name!r}: option {option!r}", value, hints[option])
    source: Source = function(**checked)
    return source


def items_to_add(source: Source, settings: Mapping[str, Any]) -> tuple[Item, ...]:
    """Express the items of a source so that the settings of an older one open them.

    Parameters
    ----------
    source : where the new items are
    settings : the settings that the pool has kept since it was made

    Returns
    -------
    The items; images that are elsewhere than the pool's own get absolute paths.

    Raises
    ------
    InputError
        If the pool holds something else, or images in a column of another name.
    """
    if source.content != content_of(settings):
        raise InputError(
            f"the new items hold {source.content}, but the pool holds {content_of(settings)}; "
            "make a pool of their own for them with `poolwise init`."
        )
    if source.content != "image":
        return tuple(source.items)
    new = source.settings
    if source.kind != "image_rows":
        base = "" if new["folder"] == settings.get("folder") else new["folder"]
        return tuple(replace(item, uri=str(PurePath(base) / str(item.uri))) for item in source.items)
    if new.get("image_column") not in (None, settings.get("image_column")):
        raise InputError(
            f"the new images are in column {new['image_column']!r}, but the pool was made with "
            f"{settings.get('image_column')!r}. Rename the column, or save the images as files."
        )
    base = "" if new["file"] == settings.get("file") else new["file"]
    return tuple(replace(item, uri=f"{base}{item.uri}") for item in source.items)


def _with_content(
    images: Any, table: Any, text: str | None, image_column: str | None, columns: dict[str, str | None]
) -> Source | None:
    """Open images or texts; None if the arguments name neither."""
    if text is not None and (images is not None or image_column is not None):
        raise InputError(f"text={text!r} makes a pool of texts; leave out images and image_column.")
    if text is not None:
        if table is None:
            raise InputError(f"text={text!r} names a column; say of which table with table=FILE.")
        return table_text(table, text, **columns)
    if images is None:
        return None if image_column is None else image_list(_needed(table, image_column), image_column, **columns)
    if table is not None:
        return image_list(table, image_column, folder=_folder(images), **columns)
    if not isinstance(images, str | Path):
        return _paths(images, columns)
    ending = Path(images).suffix.lower()
    if ending in ENDINGS and not Path(images).expanduser().is_dir():
        return image_list(images, image_column, **columns)
    named = [f"{name}={value!r}" for name, value in columns.items() if value is not None]
    if named:
        raise InputError(f"{named[0]} names a column of a table; add table=FILE to images={str(images)!r}.")
    return image_array(images) if ending == ".npy" else image_folder(images)


def _needed(table: Any, column: str) -> Any:
    if table is None:
        raise InputError(f"image_column={column!r} names a column; say of which table with table=FILE.")
    return table


def _folder(images: Any) -> Path:
    if not isinstance(images, str | Path) or not Path(images).expanduser().is_dir():
        raise InputError(f"images={images!r} beside a table is the folder of its paths; expected an existing folder.")
    return Path(images)


def _paths(images: Any, columns: dict[str, str | None]) -> Source:
    if hasattr(images, "iloc") and hasattr(images, "columns"):
        return image_list(images, **columns)
    if not isinstance(images, Sequence) or not all(isinstance(path, str | Path) for path in images):
        raise InputError(
            f"images is a {type(images).__name__}; expected a folder, a table, a .npy file or a list of paths. "
            "Save arrays with numpy.save first, so that the pool can open them again."
        )
    return image_paths(images)
