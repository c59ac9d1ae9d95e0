"""The public sets read what their publishers wrote: tiny archives of the same layout."""

from __future__ import annotations

import gzip
import hashlib
import inspect
import io
import struct
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from poolwise.datasets import cifar10, fashion_mnist, load_image, newsgroups20, open_source
from poolwise.errors import DownloadError
from poolwise.registry import DATASETS


def md5(path: Path) -> str:
    return f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}"


def idx(array: np.ndarray) -> bytes:
    """The format as Yann LeCun's page describes it: magic, dimensions, bytes."""
    head = b"\x00\x00\x08" + bytes([array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return gzip.compress(head + array.tobytes())


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", DATASETS.names())
def test_every_data_set_cites_its_source_and_names_its_licence(name: str) -> None:
    doc = sys.modules[DATASETS[name].__module__].__doc__ or ""
    assert "Source:" in doc
    assert "licence" in doc.lower()


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10", "newsgroups20"])
def test_what_is_downloaded_can_be_fetched_from_elsewhere(name: str) -> None:
    assert {"split", "cache", "address"} <= set(inspect.signature(DATASETS[name]).parameters)


def test_fashion_mnist_opens_in_the_official_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    labels = np.array([9, 0, 3, 3, 1], dtype=np.uint8)
    served = tmp_path / "served"
    served.mkdir()
    for name, array in (("train-images-idx3-ubyte.gz", images), ("train-labels-idx1-ubyte.gz", labels)):
        (served / name).write_bytes(idx(array))
        monkeypatch.setitem(fashion_mnist.CHECKSUMS, name, md5(served / name))
    options = {"cache": tmp_path / "cache", "address": served.as_uri()}
    source = open_source(dataset="fashion_mnist", options=options)
    assert source.labels == ("Ankle boot", "T-shirt/top", "Dress", "Dress", "Trouser")
    assert source.classes == fashion_mnist.CLASSES
    assert source.items[4].item_id == "train/00004"
    assert np.array_equal(np.asarray(load_image(source.items[3], source.settings))[:, :, 1], images[3])
    for path in served.iterdir():
        path.unlink()
    again = open_source(dataset="fashion_mnist", options=options)
    assert again == source, "the second time nothing is fetched"


def test_a_file_that_is_not_idx_is_named(tmp_path: Path) -> None:
    for data in (b"plain", gzip.compress(b"\x00\x00\x0d\x01"), idx(np.zeros((3, 3), np.uint8))[:-9]):
        (tmp_path / "x.gz").write_bytes(data)
        with pytest.raises(DownloadError, match="is not an IDX file"):
            fashion_mnist.read_idx(tmp_path / "x.gz")


def test_cifar10_planes_become_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    rows = [bytes([label]) + image.transpose(2, 0, 1).tobytes() for label, image in zip((6, 9), images, strict=True)]
    archive = tar_of(tmp_path / "c.tar.gz", {"../../evil": b"x", "cifar-10-batches-bin/test_batch.bin": b"".join(rows)})
    monkeypatch.setattr(cifar10, "CHECKSUM", md5(archive))
    source = cifar10.cifar10(split="test", cache=tmp_path / "cache", address=archive.as_uri())
    assert source.labels == ("frog", "truck")
    assert np.array_equal(np.asarray(load_image(source.items[1], source.settings)), images[1])
    assert not list(tmp_path.parent.glob("evil")), "nothing is unpacked to disk"
    with pytest.raises(DownloadError, match="is not CIFAR-10"):
        cifar10.read_batches(archive, ("data_batch_1.bin",))


def test_newsgroups_keep_subject_and_body_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    posting = b"From: someone\nSubject: Re: engines\nLines: 2\n\nThey hum.\n\nOften \xe9.\n"
    members = {
        "20news-bydate-train/sci.space/20": b"Subject: b\n\nsecond",
        "20news-bydate-train/rec.autos/10": posting,
        "20news-bydate-test/rec.autos/11": b"Subject: c\n\nother split",
        "/etc/passwd": b"no",
    }
    archive = tar_of(tmp_path / "n.tar.gz", members)
    monkeypatch.setattr(newsgroups20, "CHECKSUM", f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}")
    source = newsgroups20.newsgroups20(cache=tmp_path / "cache", address=archive.as_uri())
    assert [item.item_id for item in source.items] == ["rec.autos/10", "sci.space/20"]
    assert source.items[0].text == "Re: engines\nThey hum.\n\nOften é."
    assert source.labels == ("rec.autos", "sci.space")
    with pytest.raises(DownloadError, match="no postings in 'elsewhere'"):
        newsgroups20.read_postings(archive, "elsewhere")
    (tmp_path / "broken.tar.gz").write_bytes(archive.read_bytes()[:60])
    with pytest.raises(DownloadError, match="is not 20 newsgroups"):
        newsgroups20.read_postings(tmp_path / "broken.tar.gz", "20news-bydate-train")
