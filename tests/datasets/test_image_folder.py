"""A folder of images: which files count, in which order, under which name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from poolwise.datasets import load_image, open_source
from poolwise.datasets.image_folder import image_folder
from poolwise.errors import InputError


def picture(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), colour).save(path)
    return path


def test_items_are_sorted_by_relative_path_with_slashes(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.png", "a.png", "a/b/c.JPG", "Z.png"):
        picture(tmp_path / name)
    source = image_folder(tmp_path)
    names = [item.item_id for item in source.items]
    assert names == sorted(names) == ["Z.png", "a.png", "a/b/c.JPG", "a/z.png", "b.png"]
    assert [item.index for item in source.items] == [0, 1, 2, 3, 4]
    assert source.labels is None, "not every image is in a class folder"


def test_class_folders_become_labels(tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/deep/2.png", "cat/1.png"):
        picture(tmp_path / name)
    source = image_folder(tmp_path)
    assert source.classes == ("cat", "dog")
    assert source.labels == ("cat", "cat", "dog")


def test_one_folder_is_no_class(tmp_path: Path) -> None:
    picture(tmp_path / "all" / "1.png")
    assert image_folder(tmp_path).labels is None


def test_other_files_are_ignored_but_counted(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / ".hidden" / "b.png")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    source = image_folder(tmp_path)
    assert [item.item_id for item in source.items] == ["a.png"]
    assert source.ignored == {"hidden": 2, "not an image": 1, "broken link or special file": 2}


def test_links_are_followed_and_a_circle_ends(tmp_path: Path) -> None:
    outside = picture(tmp_path / "elsewhere" / "x.png").parent
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "linked").symlink_to(outside)
    (folder / "self").symlink_to(folder)
    (folder / "one.png").symlink_to(outside / "x.png")
    source = image_folder(folder)
    assert [item.item_id for item in source.items] == ["linked/x.png", "one.png"]
    assert source.ignored == {"folder linked twice": 1}
    assert load_image(source.items[0], source.settings).size == (4, 3)


def test_unicode_names_survive_and_open_again(tmp_path: Path) -> None:
    for name in ("Vögel/Käuzchen.png", "鳥/フクロウ 1.png", "a#b%20.png", "sp ace/é.png"):
        picture(tmp_path / name)
    source = image_folder(tmp_path)
    assert {item.item_id for item in source.items} == {
        "Vögel/Käuzchen.png",
        "鳥/フクロウ 1.png",
        "a#b%20.png",
        "sp ace/é.png",
    }
    for item in source.items:
        assert load_image(item, source.settings).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_not_utf8_is_counted(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert image_folder(tmp_path).ignored == {"name is not UTF-8": 1}


def test_an_empty_folder_says_what_it_saw(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no images \(no files at all\).*\.jpg"):
        image_folder(tmp_path)
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(InputError, match="1 not an image"):
        open_source(images=tmp_path)


def test_a_missing_folder_and_a_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere' does not exist; expected a folder"):
        image_folder(tmp_path / "nowhere")
    (tmp_path / "x.bmp").write_bytes(b"x")
    with pytest.raises(InputError, match="is a file; expected a folder"):
        image_folder(tmp_path / "x.bmp")
