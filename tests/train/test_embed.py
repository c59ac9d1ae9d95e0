"""Embedding a pool: resumable, only what is missing, and honest about what could not be read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from poolwise.datasets import items_to_add, open_source
from poolwise.errors import InputError, OptionError
from poolwise.progress import listening
from poolwise.store.pool import PoolStore
from poolwise.train.embed import ANNOTATOR, HASHES, duplicate_groups, embed_part, embed_pool, unreadable_items
from poolwise.types import SKIP


def pictures(folder: Path, count: int, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(folder / f"{seed}-{i:03d}.png")
    return folder


def make_pool(path: Path, **arguments: Any) -> PoolStore:
    source = open_source(**arguments)
    return PoolStore.create(path, source.items, source=source.settings)


def rows(pool: PoolStore, name: str) -> np.ndarray:
    return np.asarray(pool.arrays.read(name, pool.n_items)[slice(0, pool.n_items)])


def test_every_item_gets_its_own_row_whatever_the_parts_and_threads(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "images", 30)
    found = []
    for number, options in enumerate(
        [{}, {"rows_per_part": 7}, {"n_workers": 1}, {"batch_size": 5, "rows_per_part": 10}]
    ):
        pool = make_pool(tmp_path / f"p{number}", images=folder)
        report = embed_pool(pool, **options)
        assert report.n_new == report.n_items == 30
        assert report.backbone == "pixels:32"
        assert report.array == f"embeddings@{report.digest[:12]}"
        assert pool.arrays.info(report.array).dtype == "float16"
        found.append((report.digest, rows(pool, report.array)))
    assert {digest for digest, _ in found} == {found[0][0]}, "the same sample, the same transform"
    for _, vectors in found[1:]:
        assert np.allclose(vectors, found[0][1], atol=2e-3)
    order = np.argsort([item.item_id for item in pool.items()])
    assert order.tolist() == list(range(30))
    single = make_pool(tmp_path / "again", images=folder)
    assert np.array_equal(rows(single, embed_pool(single).array), found[0][1]), "bit for bit"


@pytest.mark.parametrize(("engine", "workers"), [("local", 3), ("processes", 2)])
def test_several_workers_make_the_same_bytes(tmp_path: Path, engine: str, workers: int) -> None:
    folder = pictures(tmp_path / "images", 30)
    (folder / "0-011.png").write_bytes(b"no picture")
    one, many = (make_pool(tmp_path / name, images=folder) for name in ("one", "many"))
    first = embed_pool(one, rows_per_part=7)
    heard: list[int] = []
    with listening(lambda what, done, total: heard.append(done)):
        second = embed_pool(many, rows_per_part=7, engine=engine, workers=workers)
    assert second.n_new == 30 and heard[-1] == 30
    assert second.unreadable == first.unreadable and list(first.unreadable) == [11]
    files = [file for file in sorted(one.path.rglob("*.npy")) if file.is_file()]
    names = [file.relative_to(one.path) for file in files]
    assert len(names) >= 10
    for name in names:
        assert (one.path / name).read_bytes() == (many.path / name).read_bytes(), name
    assert embed_pool(many, engine=engine, workers=workers).n_new == 0


def test_a_killed_worker_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import poolwise.train.embed as module

    folder = pictures(tmp_path / "images", 12)
    pool = make_pool(tmp_path / "p", images=folder)
    monkeypatch.setattr(module, "embed_part", dies_once)
    monkeypatch.setenv("DIES_ONCE", str(tmp_path / "died"))
    report = embed_pool(pool, rows_per_part=4, engine="processes", workers=2)
    assert (tmp_path / "died").exists()
    plain = make_pool(tmp_path / "plain", images=folder)
    assert np.array_equal(rows(pool, report.array), rows(plain, embed_pool(plain, rows_per_part=4).array))


def dies_once(job: Any) -> Any:
    """Embed a part, but kill the process the first time."""
    mark = Path(os.environ["DIES_ONCE"])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return embed_part(job)


def test_texts_are_embedded_by_tfidf(tmp_path: Path) -> None:
    frame = pd.DataFrame({"t": ["a red cat", "a red dog", "a blue bird", "  ", "a red cat"]})
    pool = make_pool(tmp_path / "p", table=frame, text="t")
    report = embed_pool(pool)
    assert report.backbone == "tfidf:256"
    assert report.unreadable == {3: "the text is empty"}
    assert report.duplicates == ((0, 4),)
    assert np.linalg.norm(rows(pool, report.array).astype(float), axis=1) == pytest.approx([1, 1, 1, 0, 1], abs=1e-2)


def test_unreadable_items_are_reported_zero_and_never_asked(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "images", 10)
    names = sorted(path.name for path in folder.iterdir())
    (folder / names[2]).write_bytes(b"")
    (folder / names[5]).write_bytes((folder / names[5]).read_bytes()[:200])
    (folder / names[7]).write_bytes((folder / names[1]).read_bytes())
    pool = make_pool(tmp_path / "p", images=folder)
    report = embed_pool(pool, rows_per_part=4)
    assert sorted(report.unreadable) == [2, 5]
    assert "0 bytes" in report.unreadable[2]
    assert report.duplicates == ((1, 7),)
    assert report.n_duplicates == 1
    vectors = rows(pool, report.array)
    assert np.flatnonzero(~vectors.any(axis=1)).tolist() == [2, 5]
    assert pool.state().unlabeled.tolist() == [0, 1, 3, 4, 6, 7, 8, 9]
    assert {(a.index, a.label, a.annotator) for a in pool.annotations()} == {(2, SKIP, ANNOTATOR), (5, SKIP, ANNOTATOR)}
    assert "unreadable, never asked: 2, such as item 2 (the file is empty" in report.summary()
    assert "duplicates of an earlier item: 1, in groups: 1" in report.summary()
    again = embed_pool(PoolStore.open(tmp_path / "p"))
    assert (again.n_new, again.unreadable, again.duplicates) == (0, report.unreadable, report.duplicates)
    assert len(pool.annotations()) == 2, "answered once"
    pictures(folder, 3)  # item 2 is whole again
    assert sorted(embed_pool(pool, "pixels:8", rows_per_part=3).unreadable) == [5]
    assert len(pool.annotations()) == 2


def test_appended_items_are_embedded_with_the_old_transform(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "images", 12)
    pool = make_pool(tmp_path / "p", images=folder)
    first = embed_pool(pool)
    before = rows(pool, first.array).copy()
    more = pictures(tmp_path / "more", 5, seed=1)
    (more / "copy.png").write_bytes(next(folder.iterdir()).read_bytes())
    pool.append_items(items_to_add(open_source(images=more), pool.source))
    second = embed_pool(pool)
    assert (second.array, second.n_new, second.n_items) == (first.array, 6, 18)
    after = rows(pool, second.array)
    assert np.array_equal(after[:12], before)
    assert [group[1] for group in second.duplicates] == [17]
    copied = second.duplicates[0][0]
    assert np.allclose(after[17], after[copied], atol=1e-3), "the same picture, the same vector"


def test_progress_counts_items(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "p", images=pictures(tmp_path / "images", 9))
    seen: list[tuple[str, int, int]] = []
    with listening(lambda *news: seen.append(news)):
        embed_pool(pool, batch_size=4)
    ours = [news for news in seen if news[0] == "embed p"]
    assert ours[0] == ("embed p", 0, 9)
    assert ours[-1] == ("embed p", 9, 9)
    assert [done for _, done, _ in ours] == sorted(done for _, done, _ in ours)


KILL = """
import os, sys
from poolwise.store.arrays import PoolArrays
from poolwise.store.pool import PoolStore
from poolwise.train.embed import embed_pool
real, left = PoolArrays.write_part, int(sys.argv[2])
def write_part(self, name, *args, **options):
    global left
    if name.startswith("embeddings"):
        left -= 1
        if left < 0:
            os._exit(9)
    return real(self, name, *args, **options)
PoolArrays.write_part = write_part
embed_pool(PoolStore.open(sys.argv[1]), rows_per_part=4)
"""


def test_a_killed_run_goes_on_after_the_last_part_and_ends_the_same(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "images", 18)
    whole = make_pool(tmp_path / "whole", images=folder)
    expected = rows(whole, embed_pool(whole, rows_per_part=4).array)
    pool = make_pool(tmp_path / "p", images=folder)
    for parts_before_the_end in (1, 2):
        done = subprocess.run([sys.executable, "-c", KILL, str(pool.path), str(parts_before_the_end)], check=False)
        assert done.returncode == 9
    report = embed_pool(pool, rows_per_part=4)
    assert report.n_new == 18 - 3 * 4, "one part of the first run and two of the second are kept"
    assert np.array_equal(rows(pool, report.array), expected)
    assert np.array_equal(rows(pool, HASHES), rows(whole, HASHES))


def test_a_moved_folder_is_named_instead_of_calling_everything_unreadable(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "images", 25)
    pool = make_pool(tmp_path / "p", images=folder)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"were at .*images', which is not there. Move it back"):
        embed_pool(pool)
    folder.mkdir()
    with pytest.raises(InputError, match=r"none of 25 items of pool 'p' can be read; item 0: no file at"):
        embed_pool(pool)
    assert unreadable_items(pool) == {}
    assert len(pool.state().unlabeled) == 25


def test_a_part_in_which_nothing_can_be_read_stops_the_run(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "images", 50)
    pool = make_pool(tmp_path / "p", images=folder)
    for path in sorted(folder.iterdir())[25:]:
        path.unlink()
    with pytest.raises(InputError, match="none of the items 25 to 49"):
        embed_pool(pool, rows_per_part=25)
    assert unreadable_items(pool) == {}


def test_two_backbones_make_two_arrays_and_the_last_is_remembered(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "p", images=pictures(tmp_path / "images", 8))
    one, two = embed_pool(pool, "pixels:8"), embed_pool(pool, "pixels:16")
    assert pool.arrays.names("embeddings") == sorted({one.array, two.array})
    assert pool.settings["embedded"]["embeddings"] == {"array": two.array, "backbone": "pixels:16", "weights": None}
    assert embed_pool(pool).array == two.array


def test_values_beyond_float16_are_kept_as_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from poolwise.models.pixels import Pixels

    real = Pixels.embed
    monkeypatch.setattr(Pixels, "embed", lambda self, prepared: real(self, prepared) * np.float32(1e6))
    pool = make_pool(tmp_path / "p", images=pictures(tmp_path / "images", 6))
    report = embed_pool(pool)
    assert pool.arrays.info(report.array).dtype == "float32"


def test_damaged_parts_are_repaired(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "p", images=pictures(tmp_path / "images", 12))
    report = embed_pool(pool, rows_per_part=4)
    expected = rows(pool, report.array).copy()
    part = sorted((pool.path / "arrays" / report.array).glob("*.npy"))[1]
    part.write_bytes(part.read_bytes()[:-3])
    assert embed_pool(pool, rows_per_part=4, repair=True).n_new == 4
    assert np.array_equal(rows(pool, report.array), expected)
    (pool.path / "models" / "pixels-32.npz").write_bytes(b"x")
    with pytest.raises(InputError, match=r"is damaged .*Delete it to learn the transform again"):
        embed_pool(pool)


def test_wrong_use_is_named(tmp_path: Path) -> None:
    images = make_pool(tmp_path / "p", images=pictures(tmp_path / "images", 3))
    with pytest.raises(OptionError, match=r"reads texts, but the pool holds images"):
        embed_pool(images, "tfidf")
    for option in ("rows_per_part", "batch_size"):
        with pytest.raises(OptionError, match=f"{option} must be at least 1; got 0"):
            embed_pool(images, **{option: 0})
    arrays = make_pool(tmp_path / "q", embeddings=np.eye(3))
    with pytest.raises(InputError, match=r"was made from embeddings; there is nothing to embed"):
        embed_pool(arrays)
    assert duplicate_groups(arrays) == ()


def test_a_deep_model_embeds_a_pool(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from poolwise.models.torchvision_compat import ensure_torchvision

    ensure_torchvision()
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), str(tmp_path / "model.safetensors"))
    pool = make_pool(tmp_path / "p", images=pictures(tmp_path / "images", 5))
    report = embed_pool(pool, "timm:test_vit", weights=tmp_path / "model.safetensors", device="cpu")
    assert rows(pool, report.array).shape == (5, report.width)
    again = embed_pool(pool, device="cpu")
    assert (again.array, again.n_new) == (report.array, 0), "model and weights are remembered"
