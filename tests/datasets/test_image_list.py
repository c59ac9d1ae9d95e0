"""Images named in a table or stored in it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from poolwise.datasets import items_to_add, load_image, open_source
from poolwise.errors import InputError


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    for number, colour in enumerate(("red", "lime", "blue")):
        (tmp_path / "pics").mkdir(exist_ok=True)
        Image.new("RGB", (3, 2), colour).save(tmp_path / "pics" / f"{number}.png")
    path = tmp_path / "list.csv"
    path.write_text("path,label,patient\npics/2.png,b,p\npics/0.png,,q\npics/1.png,a,p\n")
    return path


def test_rows_keep_their_order_and_paths_start_at_the_table(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    source = open_source(images=listed, label_column="label", group_column="patient")
    assert [item.item_id for item in source.items] == ["pics/2.png", "pics/0.png", "pics/1.png"]
    assert source.labels == ("b", None, "a")
    assert [item.group_id for item in source.items] == ["p", "q", "p"]
    assert load_image(source.items[0], source.settings).getpixel((0, 0)) == (0, 0, 255)


def test_a_folder_beside_the_table_is_where_paths_start(listed: Path) -> None:
    frame = pd.DataFrame({"name": ["1.png"], "key": ["k"]})
    source = open_source(images=listed.parent / "pics", table=frame, image_column="name", id_column="key")
    assert load_image(source.items[0], source.settings).getpixel((0, 0)) == (0, 255, 0)
    assert source.items[0].item_id == "k"


def test_a_list_of_paths_works(listed: Path) -> None:
    paths = [listed.parent / "pics" / "1.png", listed.parent / "pics" / "0.png"]
    source = open_source(images=paths)
    assert [item.item_id for item in source.items] == [str(path) for path in paths]
    assert load_image(source.items[1], source.settings).getpixel((0, 0)) == (255, 0, 0)


def test_missing_files_addresses_and_blank_paths_are_named(listed: Path) -> None:
    listed.write_text("path\npics/0.png\nnope.png\n")
    with pytest.raises(InputError, match=r"1 of 2 images are not there, first 'nope.png'; looked in"):
        open_source(images=listed)
    listed.write_text("path\nhttps://example.org/a.png\n")
    with pytest.raises(InputError, match="row 1 is the address"):
        open_source(images=listed)
    listed.write_text("path,n\n,1\n")
    with pytest.raises(InputError, match="row 1 names no image"):
        open_source(images=listed)
    listed.write_text("path\npics/0.png\npics/0.png\n")
    with pytest.raises(InputError, match=r"'pics/0\.png' repeat"):
        open_source(images=listed)
    listed.write_text("one,two\na,b\n")
    with pytest.raises(InputError, match=r"which column names the images\? Columns: one, two"):
        open_source(images=listed)


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("as_struct", [False, True])
def test_images_inside_parquet_open_by_row_across_row_groups(tmp_path: Path, as_struct: bool) -> None:
    colours = ["red", "lime", "blue", "black", "white"]
    values = [{"bytes": png(c), "path": None} if as_struct else png(c) for c in colours]
    pq.write_table(pa.table({"image": values, "y": [0, 1, 0, 1, 0]}), tmp_path / "t.parquet", row_group_size=2)
    source = open_source(table=tmp_path / "t.parquet", image_column="image", label_column="y")
    assert source.kind == "image_rows"
    got = [load_image(item, source.settings).getpixel((0, 0)) for item in source.items]
    assert got == [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)]


def test_a_npy_file_of_images_opens_by_row(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", images)
    source = open_source(images=tmp_path / "x.npy")
    assert np.array_equal(np.asarray(load_image(source.items[2], source.settings)), images[2])
    np.save(tmp_path / "x.npy", images / 255)
    with pytest.raises(InputError, match=r"expected \(N, H, W\) or \(N, H, W, 3\) uint8"):
        open_source(images=tmp_path / "x.npy")


def test_items_added_from_elsewhere_open_with_the_settings_of_the_pool(listed: Path, tmp_path: Path) -> None:
    old = open_source(images=listed)
    folder = tmp_path / "more"
    folder.mkdir()
    Image.new("RGB", (3, 2), "white").save(folder / "new.png")
    np.save(tmp_path / "grey.npy", np.full((2, 4, 4), 7, np.uint8))
    for new, pixel in ((open_source(images=folder), 255), (open_source(images=tmp_path / "grey.npy"), 7)):
        for item in items_to_add(new, old.settings):
            assert load_image(item, old.settings).getpixel((0, 0)) == (pixel,) * 3
    rows = open_source(images=tmp_path / "grey.npy")
    assert items_to_add(rows, rows.settings) == rows.items
    added = items_to_add(old, rows.settings)
    assert load_image(added[0], rows.settings).getpixel((0, 0)) == (0, 0, 255)
    texts = open_source(table=pd.DataFrame({"t": ["a"]}), text="t")
    with pytest.raises(InputError, match="new items hold text, but the pool holds image"):
        items_to_add(texts, old.settings)


def test_real_cifar_images_open(shared_data: Path) -> None:
    table = shared_data / "images" / "cifar10_test.parquet"
    source = open_source(table=table, image_column="image", label_column="label")
    assert len(source) == 10000
    assert source.classes is not None
    assert source.classes[0] == "airplane"
    assert load_image(source.items[-1], source.settings).size == (32, 32)
