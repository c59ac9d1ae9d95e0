"""Opening one image: every kind a camera, a scanner or a web page may produce, and broken ones."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from poolwise.datasets import load_image
from poolwise.datasets.content import decode_image, load_content
from poolwise.errors import UnreadableItemError
from poolwise.types import Item


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixel(data: bytes, at: tuple[int, int] = (0, 0)) -> tuple[int, ...]:
    image = decode_image(data)
    assert image.mode == "RGB"
    value = image.getpixel(at)
    assert isinstance(value, tuple)
    return value


def test_grey_palette_and_one_bit_images_become_rgb() -> None:
    assert pixel(encoded(Image.new("L", (2, 2), 77))) == (77, 77, 77)
    assert pixel(encoded(Image.new("RGB", (2, 2), (10, 20, 30)).quantize())) == (10, 20, 30)
    assert pixel(encoded(Image.new("1", (2, 2), 1))) == (255, 255, 255)


def test_transparent_becomes_white() -> None:
    assert pixel(encoded(Image.new("RGBA", (2, 2), (200, 0, 0, 0)))) == (255, 255, 255)
    assert pixel(encoded(Image.new("RGBA", (2, 2), (200, 0, 0, 255)))) == (200, 0, 0)
    assert pixel(encoded(Image.new("LA", (2, 2), (0, 0)))) == (255, 255, 255)
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([9, 9, 9, 1, 1, 1])
    assert pixel(encoded(palette, transparency=0)) == (255, 255, 255)


def test_sixteen_bits_are_stretched_to_their_own_range() -> None:
    values = np.array([[1000, 2000], [3000, 5000]], dtype=np.uint16)
    image = np.asarray(decode_image(encoded(Image.fromarray(values))))[:, :, 0]
    assert image.tolist() == [[0, 64], [128, 255]]  # (v - 1000) / 4000 * 255, rounded to even
    flat = Image.fromarray(np.full((2, 2), 900, dtype=np.uint16))
    assert pixel(encoded(flat)) == (0, 0, 0)
    floating = Image.fromarray(np.array([[-1.0, 1.0]], dtype=np.float32))
    assert np.asarray(decode_image(encoded(floating, "TIFF")))[0, :, 0].tolist() == [0, 255]


def test_a_floating_image_with_nan_is_unreadable() -> None:
    image = Image.fromarray(np.array([[np.nan, 1.0]], dtype=np.float32))
    with pytest.raises(UnreadableItemError, match="not finite"):
        decode_image(encoded(image, "TIFF"))


def test_cmyk_jpeg_becomes_rgb() -> None:
    red, green, blue = pixel(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95))
    assert red > 200
    assert green < 60
    assert blue < 60


def test_exif_rotation_is_applied() -> None:
    image = Image.new("RGB", (40, 20), "white")
    image.paste("red", (0, 0, 20, 20))  # left half
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    upright = decode_image(encoded(image, "JPEG", exif=exif, quality=95))
    assert upright.size == (20, 40)
    top, bottom = upright.getpixel((10, 5)), upright.getpixel((10, 35))
    assert isinstance(top, tuple)
    assert isinstance(bottom, tuple)
    assert top[1] < 60 < 200 < bottom[1]


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    assert pixel(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == (255, 0, 0)


def test_a_large_jpeg_is_decoded_small_but_not_too_small() -> None:
    data = encoded(Image.new("RGB", (800, 600), "red"), "JPEG")
    assert decode_image(data).size == (800, 600)
    small = decode_image(data, at_least=64)
    assert small.size == (100, 75)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty .0 bytes"),
        (b"hello, I am no image at all", "these 27 bytes are no image format"),
        (encoded(Image.effect_noise((64, 64), 50))[:-600], "cannot be decoded"),
        (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:700], "cannot be decoded"),
        (encoded(Image.new("L", (8, 8)))[:20], "image"),
    ],
)
def test_broken_bytes_are_unreadable_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableItemError, match=reason):
        decode_image(data)


def test_hostile_bytes_never_raise_anything_else(rng: np.random.Generator) -> None:
    images = [Image.effect_noise((20, 20), 50), Image.new("RGB", (9, 9), "red")]
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        for image in images:
            good = bytearray(encoded(image.convert("RGB"), kind))
            for _ in range(30):
                bad = bytearray(good)
                for place in rng.integers(0, len(bad), 4):
                    bad[place] = rng.integers(256)
                try:
                    assert decode_image(bytes(bad)).mode == "RGB"
                except UnreadableItemError as error:
                    assert str(error)


def test_a_small_file_that_claims_a_huge_picture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = encoded(Image.new("1", (12_000, 12_000)))  # 144 million pixels in 20 kB
    assert len(bomb) < 30_000
    with pytest.raises(UnreadableItemError, match=r"144000000|12000 x 12000"):
        decode_image(bomb)
    monkeypatch.setattr("poolwise.datasets.content.MAX_PIXELS", 99)
    with pytest.raises(UnreadableItemError, match="10 x 10 pixels; the limit is 99"):
        decode_image(encoded(Image.new("1", (10, 10))))


def test_missing_files_and_folders_have_a_reason(tmp_path: Path) -> None:
    settings = {"kind": "image_folder", "folder": str(tmp_path)}
    (tmp_path / "folder.png").mkdir()
    for name in ("nowhere.png", "folder.png"):
        with pytest.raises(UnreadableItemError, match="no file at"):
            load_image(Item(0, name, uri=name), settings)
    for kind, uri in (("x.npy", "#0"), ("x.parquet", "#0")):
        rows = {"kind": "image_rows", "file": str(tmp_path / kind), "image_column": "image"}
        with pytest.raises(UnreadableItemError, match="cannot read row 0"):
            load_image(Item(0, "0", uri=uri), rows)


def test_equal_files_have_equal_hashes_and_others_do_not(tmp_path: Path) -> None:
    settings = {"kind": "image_folder", "folder": str(tmp_path)}
    for name, colour in (("a.png", "red"), ("b.png", "red"), ("c.png", "blue")):
        Image.new("RGB", (2, 2), colour).save(tmp_path / name)
    hashes = [load_content(Item(0, n, uri=n), settings)[1] for n in ("a.png", "b.png", "c.png")]
    assert hashes[0] == hashes[1] != hashes[2]
    assert len(hashes[0]) == 16
