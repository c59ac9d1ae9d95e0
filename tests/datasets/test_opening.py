"""One door: too little, too much, and contradictions are told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from poolwise.datasets import content_of, open_source
from poolwise.datasets.source import CONTENT
from poolwise.errors import InputError, OptionError, UnknownNameError

FRAME = pd.DataFrame({"text": ["a", "b"], "path": ["x.png", "y.png"]})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "a pool needs items: give images=FOLDER"),
        ({"text": "text"}, "say of which table with table=FILE"),
        ({"image_column": "path"}, "say of which table with table=FILE"),
        ({"table": FRAME}, "which column holds the items. Columns: text, path"),
        ({"table": FRAME, "text": "text", "image_column": "path"}, "leave out images and image_column"),
        ({"table": FRAME, "text": "text", "images": "."}, "leave out images and image_column"),
        ({"dataset": "cifar10", "images": "."}, "stands alone, but images came with it"),
        ({"images": ".", "label_column": "y"}, "names a column of a table; add table=FILE"),
        ({"images": np.zeros((2, 4, 4), np.uint8)}, "Save arrays with numpy.save first"),
        ({"images": []}, "is empty"),
        ({"images": "nowhere", "table": FRAME}, "expected an existing folder"),
        ({"table": "nowhere.csv", "text": "text"}, "'nowhere.csv' is not a file"),
    ],
)
def test_the_error_says_what_to_give(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source(**arguments)


def test_an_unknown_data_set_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'fashion_mnist'"):
        open_source(dataset="fashion-mnist")


def test_options_of_a_data_set_are_checked() -> None:
    with pytest.raises(OptionError, match="option 'split' must be one of 'train', 'test'; got 'valid'"):
        open_source(dataset="fashion_mnist", options={"split": "valid"})
    with pytest.raises(OptionError, match=r"dataset 'cifar10' has no option 'spilt'. Options: split, cache, address"):
        open_source(dataset="cifar10", options={"spilt": "test"})


def test_settings_alone_say_what_items_hold() -> None:
    assert {kind: content_of({"kind": kind}) for kind in CONTENT} == CONTENT
    with pytest.raises(OptionError, match="have kind 'video'"):
        content_of({"kind": "video"})


def test_an_empty_folder_is_not_a_table(tmp_path: Path) -> None:
    (tmp_path / "odd.csv").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        open_source(images=tmp_path / "odd.csv")
