"""Reports of pools: what the ledger holds is what the page shows, at any size and with any content."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from poolwise.report.build_pool import PICKS, describe_pool, estimates, pool_report
from poolwise.report.model import Estimate
from poolwise.report.thumbnails import SIDE_PX, thumbnail
from poolwise.store.pool import PoolStore
from poolwise.types import NOT_OF_INTEREST, SKIP, Annotation, Item, PoolState, Selection


def take(n: int, strategy: str = "margin", **notes: object):
    def choose(state: PoolState, seed: int) -> Selection:
        picked = state.unlabeled[:n]
        scores = np.linspace(1, 0, n).astype(np.float32)
        return Selection(picked, scores, strategy, {}, seed, 0.5, {"gap": scores * 2}, notes)

    return choose


def texts(path: Path, n: int = 50) -> PoolStore:
    items = [Item(0, f"doc-{i}", text=f"<b>text {i}</b>\n" + "word " * 200) for i in range(n)]
    return PoolStore.create(path / "news.pool", items, classes=["a", "b"], source={"kind": "table_text"}, seed=4)


def test_an_empty_pool_has_a_page(tmp_path: Path) -> None:
    store = texts(tmp_path)
    out = pool_report(store)
    assert out == store.path / "report.html"
    assert "of 50 items, 0.0" in out.read_text(encoding="utf-8")


def test_rounds_batches_answers_and_time_are_those_of_the_ledger(tmp_path: Path) -> None:
    store = texts(tmp_path)
    batch = store.ask(take(4, "random", width=3))
    answers = ["a", "b", SKIP, NOT_OF_INTEREST]
    store.annotate(
        [Annotation(int(i), label, seconds=2.0) for i, label in zip(batch.selection.indices, answers, strict=True)]
    )
    store.annotate([Annotation(int(batch.selection.indices[0]), "b")])
    store.record_round({"accuracy": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.8, "seconds_fit": 0.2, "loss": np.nan})
    store.ask(take(30))
    report = describe_pool(store, sentences=["So it is."])
    first, second = report.rounds
    assert (first.number, first.strategy, first.n_picked, first.n_labeled) == (1, "random", 4, 2)
    assert first.metrics == {"accuracy": Estimate(0.7, 0.6, 0.8)}
    assert (first.seconds_select, first.seconds_fit, first.seconds_annotating, first.n_timed) == (0.5, 0.2, 8.0, 4)
    assert first.notes == {"width": 3}
    assert (second.number, second.strategy, second.n_picked, second.metrics) == (2, "margin", 30, {})
    assert report.class_counts == {"a": 0, "b": 2}
    facts = {fact.name: fact.value for fact in report.facts}
    assert (facts["Labeled"], facts["Waiting for an answer"]) == ("2", "30")
    assert (facts["Skipped"], facts["Not of interest"]) == ("1", "1")
    latest, earlier = report.batches
    assert (latest.n_picked, len(latest.picks)) == (30, PICKS)
    assert [pick.label for pick in earlier.picks] == ["b", "b", "skipped", "not of interest"]
    assert earlier.picks[0].components == {"gap": 2.0} and earlier.picks[0].score == 1.0
    assert latest.picks[0].text is not None and len(latest.picks[0].text) < 300
    html = pool_report(store, tmp_path / "r.html", sentences=["So it is."]).read_text(encoding="utf-8")
    assert "So it is." in html and "&lt;b&gt;text 4" in html and "<b>text" not in html and "and 10 more" in html


def test_estimates_join_bounds_to_their_number() -> None:
    found = estimates({"accuracy": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.8, "n_low": 3.0, "loss": float("inf")})
    assert found == {"accuracy": Estimate(0.7, 0.6, 0.8), "n_low": Estimate(3.0)}


def photo_pool(folder: Path, images: dict[str, bytes]) -> PoolStore:
    (folder / "photos").mkdir()
    for name, data in images.items():
        (folder / "photos" / name).write_bytes(data)
    return PoolStore.create(
        folder / "p.pool",
        [Item(0, name, uri=name) for name in images],
        source={"kind": "image_folder", "folder": str(folder / "photos")},
    )


def encoded(image: Image.Image, kind: str = "png") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def test_pictures_are_shrunk_into_the_page_and_broken_ones_do_not_stop_it(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 900, 3), dtype=np.uint8)
    images = {"big.jpg": encoded(Image.fromarray(noise), "jpeg"), "broken.png": b"no picture", "small.png": b""}
    store = photo_pool(tmp_path, images)
    store.ask(take(3))
    big, broken, empty = describe_pool(store).batches[0].picks
    assert broken.image is None and empty.image is None and big.image is not None
    with Image.open(io.BytesIO(base64.b64decode(big.image.split(",")[1]))) as shown:
        assert shown.size == (SIDE_PX, 75)
    assert len(big.image) < 20_000


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
def test_every_kind_of_picture_has_a_thumbnail(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    image = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)) if mode == "I;16" else image.convert(mode)
    (tmp_path / "x.tif").write_bytes(encoded(image, "tiff"))
    uri = thumbnail(Item(0, "x", uri="x.tif"), {"kind": "image_folder", "folder": str(tmp_path)})
    assert uri is not None and re.match(r"data:image/(png|jpeg);base64,", uri)


def test_a_pool_of_arrays_lists_row_numbers_and_a_large_batch_stays_small(tmp_path: Path) -> None:
    n = 20_000
    store = PoolStore.create(tmp_path / "x.pool", [Item(0, str(i)) for i in range(n)], source={"kind": "arrays"})
    for _ in range(5):
        store.ask(take(3000, "coreset"))
    out = pool_report(store)
    html = out.read_text(encoding="utf-8")
    assert html.count("and 2,980 more") == 3 and len(html) < 100_000


def test_hostile_ids_classes_and_settings_are_escaped(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>'
    store = PoolStore.create(tmp_path / "p.pool", [Item(0, evil, text=evil)], source={"kind": "table_text", evil: evil})
    store.ask(take(1, evil, **{evil: evil}))
    store.annotate([Annotation(0, evil)])
    store.settings[evil] = {evil: [evil]}
    assert "<script" not in pool_report(store, sentences=[evil]).read_text(encoding="utf-8")
